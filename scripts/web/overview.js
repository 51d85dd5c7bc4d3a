import { app } from "./app.js";
import {
  ago,
  badge,
  bytes,
  card,
  chart,
  compact,
  count,
  facts,
  h,
  head,
  link,
  plural,
  prose,
  replace,
  span,
  table,
} from "./ui.js";

export const KIND = { warning: "warn", critical: "bad" };

// The page that has more about a problem.
export function subjectLink(p) {
  if (p.code.startsWith("group_") || p.code === "letters_wait") return link("#/groups/" + p.subject, p.subject);
  if (p.code === "hook_fails" || p.code === "timer_fails") return link("#/hooks", p.subject);
  return p.subject && h("code", {}, p.subject);
}

export const problems = (list) =>
  list.map((p) =>
    h(
      "article",
      { class: "problem " + KIND[p.severity] },
      h(
        "header",
        {},
        badge(KIND[p.severity], p.severity),
        h("code", {}, p.code),
        subjectLink(p),
        h("span", { class: "dim" }, "since ", h("time", { datetime: p.since, title: p.since }, ago(p.since))),
      ),
      h("p", {}, p.what),
      h("p", { class: "cure" }, h("strong", {}, "What to do: "), prose(p.cure)),
    ),
  );

const rate = (unit) => (n) => `${unit === bytes ? bytes(n) : compact(n)}/s`;

// Differences of one counter, a second.
function rates(history, counter) {
  const list = [];
  for (let i = 1; i < history.length; i++) {
    const seconds = (Date.parse(history[i].time) - Date.parse(history[i - 1].time)) / 1000;
    const difference = counter(history[i]) - counter(history[i - 1]);
    if (seconds > 0) list.push(Math.max(0, difference) / seconds);
  }
  return list;
}

const nodeColumns = [
  ["Node", (n) => (n.http ? link(n.http + "/console", n.name) : n.name)],
  ["Role", (n) => (n.role === "leader" || n.role === "alone" ? badge("lead", n.role) : n.role)],
  ["Synced set", (n) => (n.in_set ? badge("good", "in") : badge("warn", "out"))],
  [
    "Connection",
    (n) => (n.connected === undefined ? "–" : n.connected ? "connected" : badge("bad", "not connected")),
  ],
  [
    "Lag",
    (n) =>
      n.lag === undefined
        ? n.staleness === undefined
          ? "–"
          : span(n.staleness)
        : plural(n.lag, "message") + (n.lag_seconds > 0 ? `, ${span(n.lag_seconds)}` : ""),
    "number",
  ],
];

export async function page() {
  const charts = {
    published: chart("Published", rate()),
    read: chart("Read", rate()),
    written: chart("Bytes", rate(bytes)),
    requests: chart("Requests", rate()),
    sync: chart("Sync", span),
    cpu: chart("CPU", (n) => `${(n * 100).toFixed(0)} %`),
  };
  const first = h("div"),
    nodes = table("Nodes", nodeColumns, []),
    about = h("div");
  const element = h(
    "div",
    {},
    head("Overview"),
    first,
    h("div", { class: "charts" }, Object.values(charts)),
    card("Nodes", nodes),
    card("This node", about),
  );

  function onState(state) {
    const { history } = app;
    replace(
      first,
      state.health.problems.length > 0
        ? h(
            "section",
            { class: "problems", "aria-label": "Problems" },
            problems(state.health.problems.slice(0, 5)),
            state.health.problems.length > 5 && link("#/health", `${state.health.problems.length - 5} more`),
          )
        : null,
    );
    nodes.set(state.nodes);
    charts.published.set(rates(history, (x) => x.log.appended_messages));
    charts.read.set(rates(history, (x) => x.log.read_messages));
    charts.written.set(rates(history, (x) => x.log.appended_bytes));
    charts.requests.set(rates(history, (x) => x.http.requests));
    charts.cpu.set(rates(history, (x) => x.process.cpu));
    const syncs = [];
    for (let i = 1; i < history.length; i++) {
      const [a, b] = [history[i - 1].store, history[i].store];
      syncs.push(b.syncs > a.syncs ? (b.sync_seconds - a.sync_seconds) / (b.syncs - a.syncs) : 0);
    }
    charts.sync.set(syncs);
    replace(
      about,
      facts([
        ["Version", state.version],
        ["Up for", span(state.uptime)],
        ["Epoch", count(state.epoch)],
        ["Leader", state.leader ?? badge("bad", "none")],
        ["Topics", link("#/topics", count(state.topics))],
        ["Groups", link("#/groups", count(state.groups))],
        ["Disk", `${bytes(state.store.disk_free)} free of ${bytes(state.store.disk_size)}`],
        ["Memory", bytes(state.process.rss)],
        ["Scripts", `${bytes(state.scripts.memory)} of ${bytes(state.scripts.memory_max)}`],
        ["Interface", link("#/api", "all paths")],
        ["Connections", count(state.http.connections)],
        ["Descriptors", `${count(state.process.fds)} of ${count(state.process.fds_max)}`],
      ]),
    );
  }
  if (app.history.length === 0 && !app.may("observe"))
    replace(first, h("p", {}, "This token may not observe the node."));
  return { element, onState };
}
