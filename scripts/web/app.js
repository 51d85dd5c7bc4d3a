// The console: which page is shown, who is asked, and what the live stream says.
import { Lignum } from "./lignum.js";
import { badge, button, complain, field, h, head, input, link, note, problem, replace } from "./ui.js";

const PAGES = [
  ["", "Overview", "./overview.js"],
  ["topics", "Topics", "./topics.js"],
  ["groups", "Groups", "./groups.js"],
  ["hooks", "Hooks", "./hooks.js"],
  ["health", "Health", "./health.js"],
  ["lua", "Lua", "./lua.js"],
  ["api", "Interface", "./api.js"],
];
const main = document.getElementById("main");

export const app = {
  api: new Lignum(""),
  me: { may: [], topics: [], console: false },
  history: [], // states of the live stream, the newest last
  may(action) {
    return app.me.may.includes(action);
  },
};

let live,
  shown,
  turn = 0;

// ---- the live stream

function onLive(message) {
  if (message.type === "hello") {
    app.history = [...message.history];
    setToken(message.token);
  } else if (message.type === "token") {
    app.history = [];
    if (message.token !== app.api.token) setToken(message.token);
  } else if (message.type === "state") {
    app.history.push(message.state);
    if (app.history.length > 150) app.history.shift();
    where(message.state);
    shown?.onState?.(message.state);
  } else if (message.type === "lost") {
    where(null, message);
  }
}

async function connect() {
  if (typeof SharedWorker === "undefined") {
    live = (await import("./live.js")).join(onLive);
    return;
  }
  const worker = new SharedWorker(new URL("./live.js", import.meta.url), { type: "module", name: "lignum" });
  worker.port.onmessage = ({ data }) => onLive(data);
  addEventListener("pagehide", () => worker.port.postMessage({ type: "leave" }));
  live = { send: (message) => worker.port.postMessage(message) };
}

function where(state, lost) {
  const element = document.getElementById("where");
  if (lost) return replace(element, badge("bad", lost.status === 403 ? "no live figures" : "not connected"));
  const kind = { ok: "good", warning: "warn", critical: "bad" }[state.health.status];
  replace(
    element,
    h("span", {}, state.node, " ", h("span", { class: "dim" }, state.role)),
    link("#/health", state.health.status === "ok" ? "healthy" : `${state.health.problems.length} to look at`, {
      class: "badge " + kind,
    }),
  );
}

// ---- who is asked

async function setToken(token) {
  app.api = new Lignum("", { token, timeout: 10000 });
  try {
    app.me = await app.api.me();
  } catch (why) {
    if (why.status === 401) return signIn(token && why);
    replace(
      main,
      problem(why),
      button("Try again", () => setToken(token)),
    );
    return;
  }
  if (token && !app.me.token && !app.me.user) return signIn(new Error("No token in force has this secret."));
  navigation();
  if (token && parts()[0] === "sign-in") location.hash = "#/";
  else show();
}

function signIn(why) {
  app.me = { may: [], topics: [], console: false };
  navigation();
  const secret = input({ type: "password", name: "token", required: true, autocomplete: "off" });
  shown?.leave?.();
  shown = undefined;
  document.title = "Sign in · Lignum";
  replace(
    main,
    h(
      "form",
      {
        class: "signin card",
        onsubmit: (event) => {
          event.preventDefault();
          app.api = new Lignum("", { token: "" });
          live.send({ type: "token", token: secret.value.trim() });
        },
      },
      h("h1", {}, parts()[0] === "sign-in" ? "Sign in" : "This node asks for a token"),
      why && problem(why),
      field("Access token", secret, "It is kept in memory, and gone with the last tab of this console."),
      h("div", { class: "actions" }, h("button", { class: "primary" }, "Sign in")),
      note("An operator makes one with: lignum token add NAME --may observe,read,admin"),
    ),
  );
  secret.focus();
}

// ---- pages

function navigation() {
  const [current] = parts();
  replace(
    document.getElementById("nav"),
    PAGES.filter(([name]) => (name === "lua" ? app.me.console : name !== "api")).map(([name, title]) =>
      link("#/" + name, title, { "aria-current": name === current && "page" }),
    ),
  );
}

export function parts() {
  const [path] = location.hash.replace(/^#\/?/, "").split("?");
  return path.split("/").map(decodeURIComponent);
}

export function parameters() {
  return new URLSearchParams(location.hash.split("?")[1] ?? "");
}

// Changes the address without another turn of the page.
export function remember(changes) {
  const all = parameters();
  for (const [name, value] of Object.entries(changes)) value ? all.set(name, value) : all.delete(name);
  const text = all.toString();
  history.replaceState(null, "", location.hash.split("?")[0] + (text && "?" + text));
}

async function show() {
  const mine = ++turn,
    [name, ...args] = parts();
  if (name === "sign-in") return signIn();
  const found = PAGES.find((p) => p[0] === name && (name !== "lua" || app.me.console));
  shown?.leave?.();
  shown = undefined;
  navigation();
  if (!found) return replace(main, head("There is no such page"), link("#/", "Overview"));
  main.setAttribute("aria-busy", "true");
  try {
    const { page } = await import(found[2]);
    const next = await page(args);
    if (mine !== turn) return next.leave?.();
    shown = next;
    replace(main, next.element);
    document.title = (next.title ?? found[1]) + " · Lignum";
    const state = app.history[app.history.length - 1];
    if (state) next.onState?.(state);
  } catch (why) {
    if (mine !== turn) return;
    if (why.status === 401) return signIn(why);
    replace(main, head(found[1]), problem(why), button("Try again", show));
  } finally {
    if (mine === turn) main.removeAttribute("aria-busy");
  }
  if (mine === turn && document.activeElement === document.body)
    main.querySelector("h1")?.focus({ preventScroll: true });
}

export const again = show;

addEventListener("hashchange", show);
addEventListener(
  "unhandledrejection",
  ({ reason, ...event }) => reason?.code && (complain(reason), event.preventDefault?.()),
);
connect();
