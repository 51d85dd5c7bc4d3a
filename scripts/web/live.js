// One event stream of /v1/stats for all tabs of the console: a SharedWorker, which also keeps the access token in
// memory for as long as a tab is open. Where there is no SharedWorker, each tab has this module to itself.
import { Lignum } from "./lignum.js";

const KEPT = 150; // states, for the charts of a tab that opens later
const listeners = new Set();
const history = [];
let token, running, last;

function tell(message) {
  last = message.type === "state" || message.type === "lost" ? message : last;
  for (const listener of listeners) listener(message);
}

async function run(stop) {
  for (let tries = 0; !stop.signal.aborted; tries++) {
    try {
      const client = new Lignum("", { token });
      for await (const state of client.stats({ every: 2, signal: stop.signal })) {
        tries = 0;
        history.push(state);
        if (history.length > KEPT) history.shift();
        tell({ type: "state", state });
      }
    } catch (why) {
      if (stop.signal.aborted) return;
      tell({ type: "lost", status: why.status || 0, detail: why.message });
      if (why.status === 401 || why.status === 403) return;
    }
    await new Promise((done) => setTimeout(done, Math.min(5000, 500 * 2 ** tries)));
  }
}

function start() {
  running?.abort();
  running = new AbortController();
  run(running);
}

// Adds a listener, which gets { type: "hello", token, history } first. It may send { type: "token", token }.
export function join(listener) {
  listeners.add(listener);
  listener({ type: "hello", token, history });
  if (last?.type === "lost") listener(last);
  if (!running) start();
  return {
    send(message) {
      if (message.type !== "token") return;
      token = message.token;
      history.length = 0;
      tell({ type: "token", token });
      start();
    },
    leave: () => listeners.delete(listener),
  };
}

if (typeof SharedWorkerGlobalScope !== "undefined" && self instanceof SharedWorkerGlobalScope) {
  self.addEventListener("connect", (event) => {
    const port = event.ports[0];
    const member = join((message) => port.postMessage(message));
    port.onmessage = ({ data }) => (data.type === "leave" ? member.leave() : member.send(data));
  });
}
