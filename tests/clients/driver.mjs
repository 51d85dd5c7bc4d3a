// Does the steps of tests/system/test_clients.py with scripts/web/lignum.js: a step is a line of JSON on stdin, and its
// answers are lines of JSON on stdout, of which the last one has "result" or "error".
import { createInterface } from "node:readline";
import { Lignum, LignumError, fromBase64, toBase64 } from "../../scripts/web/lignum.js";

const say = (what) => process.stdout.write(JSON.stringify(what) + "\n");
const producers = {};
/** @type {any} */ let log;

const outgoing = ({ data, base64, key, key_base64, ...rest }) => ({
  ...rest,
  data: base64 === undefined ? data : fromBase64(base64),
  key: key_base64 === undefined ? key : fromBase64(key_base64),
});

function shown(m) {
  const key = m.key === undefined ? m.key_base64 : toBase64(new TextEncoder().encode(m.key));
  return {
    offset: m.offset,
    base64: toBase64(m.bytes()),
    headers: m.headers,
    key_base64: key,
    lease: m.lease,
    delivery: m.delivery,
  };
}

const steps = {
  publish: (s) => log.publish(s.topic, s.messages.map(outgoing), { id: s.id, expect: s.expect }),

  produce(s) {
    const name = JSON.stringify([s.topic, s.producer, s.epoch]);
    producers[name] ??= log.producer(s.topic, { id: s.producer, epoch: s.epoch });
    return producers[name].publish(s.messages.map(outgoing));
  },

  async read(s) {
    const { messages, next, next_token } = await log.read(s.topic, { from: s.from, limit: s.limit });
    return { messages: messages.map(shown), next, next_token };
  },

  async follow(s) {
    let left = s.count;
    const options = {
      from: s.from,
      onTruncated: (offset) => say({ truncated: offset }),
      onGap: (from, earliest) => say({ gap: [from, earliest] }),
    };
    for await (const m of log.follow(s.topic, options)) {
      say({ message: shown(m) });
      if (--left === 0) return;
    }
  },

  async work(s) {
    const done = new Set(),
      stop = new AbortController();
    await log.group(s.topic, s.group).work(
      (m) => {
        if (m.text() === s.fails && m.delivery === 1) throw new Error("not yet");
        say({ done: m.text() });
        if (done.add(m.text()).size >= s.count) stop.abort();
      },
      { limit: 4, wait: 1, signal: stop.signal, onError: (why, m) => say({ failed: m.text() }) },
    );
  },

  create_topic: (s) => log.createTopic(s.topic, s.settings),
  create_group: (s) => log.group(s.topic, s.group).create(s.settings),
  group: (s) => log.group(s.topic, s.group).info(),
  claim: async (s) => (await log.group(s.topic, s.group).claim({ limit: s.limit, wait: s.wait })).map(shown),

  async settle(s) {
    const group = log.group(s.topic, s.group);
    const [settled] = await (s.verb === "ack" ? group.ack(s) : group[s.verb](s, s.value));
    return settled.result;
  },

  prefer_leader: async () => [await log.preferLeader(), log.urls[0]],

  // What only this client has.
  async abort(s) {
    const stop = new AbortController();
    setTimeout(() => stop.abort(new Error("enough")), 100);
    return log.read(s.topic, { signal: stop.signal }).catch((why) => why.message);
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const s = JSON.parse(line);
  if (s.do === "connect") {
    log = new Lignum(s.urls, { token: s.token, timeout: s.timeout * 1000, patience: s.patience * 1000 });
    say({ result: null });
    continue;
  }
  try {
    say({ result: (await steps[s.do](s)) ?? null });
  } catch (why) {
    if (!(why instanceof LignumError)) throw why;
    say({ error: why.code, detail: why.message });
  }
}
