import { app } from "./app.js";
import { ago, badge, card, count, h, head, span, table, when } from "./ui.js";

const columns = [
  ["Name", (k) => h("span", {}, h("code", {}, k.name), k.place && h("small", { class: "dim block" }, k.place))],
  ["Kind", (k) => k.kind],
  ["Calls", (k) => count(k.calls), "number"],
  ["Errors", (k) => (k.errors > 0 ? badge("bad", count(k.errors)) : "0"), "number"],
  ["Mean", (k) => (k.calls > 0 ? span(k.seconds / k.calls) : "–"), "number"],
  ["p99", (k) => (k.calls > 0 ? span(k.p99) : "–"), "number"],
  [
    "Last error",
    (k) =>
      k.last_error
        ? h(
            "span",
            { class: "error" },
            h("code", {}, k.last_error.text),
            h("small", { class: "dim block" }, ago(k.last_error.time)),
          )
        : "–",
    "wide",
  ],
];
const rejected = [
  ["Time", (r) => when(r.time)],
  ["Topic", (r) => h("code", {}, r.topic)],
  ["Code", (r) => h("code", {}, r.code)],
  ["Why", (r) => r.why, "wide"],
];

export async function page() {
  const answer = await app.api.hooks();
  const hooks = table(
    "Hooks and timers",
    columns,
    answer.hooks,
    "lignum.lua defines no hooks and no timers that have run.",
  );
  const last = table(
    "Rejected messages",
    rejected,
    answer.rejected,
    "on_publish has rejected nothing since the last reload.",
  );
  const timer = setInterval(async () => {
    const next = await app.api.hooks().catch(() => null);
    if (next) (hooks.set(next.hooks), last.set(next.rejected));
  }, 3000);
  return {
    element: h("div", {}, head("Hooks"), card("Hooks and timers", hooks), card("Last rejected messages", last)),
    leave: () => clearInterval(timer),
  };
}
