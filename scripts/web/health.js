import { app } from "./app.js";
import { problems } from "./overview.js";
import { badge, h, head, replace } from "./ui.js";

export async function page() {
  const list = h("section", { class: "problems", "aria-label": "Problems", "aria-live": "polite" }),
    state = h("span");
  function set(health) {
    replace(state, badge({ ok: "good", warning: "warn", critical: "bad" }[health.status], health.status));
    replace(
      list,
      health.problems.length > 0
        ? problems(health.problems)
        : h("p", { class: "calm" }, "Nothing is wrong with this node, nor with what it sees of its cluster."),
    );
  }
  const health = await app.api.health();
  set(health);
  const element = h(
    "div",
    {},
    head("Health", state),
    h(
      "p",
      { class: "note" },
      "As ",
      h("strong", {}, health.node),
      " sees it. Each node has a view of its own; the leader's has all followers.",
    ),
    list,
  );
  return { element, onState: (s) => set(s.health) };
}
