import { app } from "./app.js";
import { button, h, head, note, replace } from "./ui.js";

const session = crypto.randomUUID(),
  lines = [];
let at = 0;

export async function page() {
  const output = h("div", { class: "terminal", role: "log", "aria-label": "Output", tabindex: "0" });
  const entry = h("textarea", {
    rows: "1",
    "aria-label": "Lua",
    spellcheck: "false",
    autocomplete: "off",
    autocapitalize: "off",
  });
  const offers = h("div", { class: "offers", role: "listbox", "aria-label": "Completions", hidden: true });

  function say(kind, text) {
    if (text) output.append(h("pre", { class: kind }, text));
    output.scrollTop = output.scrollHeight;
  }

  async function run() {
    const line = entry.value;
    if (!line.trim()) return;
    offers.hidden = true;
    entry.readOnly = true;
    try {
      const answer = await app.api.send("POST", "/v1/console", { line, session });
      if (answer.outcome === "more") {
        entry.value += "\n";
        entry.rows = entry.value.split("\n").length;
        return;
      }
      say("typed", "> " + line);
      say("said", answer.output);
      say(answer.outcome === "error" ? "failed" : "result", answer.result);
      if (lines[lines.length - 1] !== line) lines.push(line);
      at = lines.length;
      entry.value = "";
      entry.rows = 1;
    } catch (why) {
      say("failed", `${why.code ?? "error"}: ${why.message}`);
    } finally {
      entry.readOnly = false;
      entry.focus();
    }
  }

  async function complete() {
    const before = entry.value.slice(0, entry.selectionStart),
      line = before.split("\n").pop();
    const { words } = await app.api.send("POST", "/v1/console/complete", { line, session });
    const word = /[\w.:]*$/.exec(line)[0];
    if (words.length === 0) return (offers.hidden = true);
    let common = words[0];
    for (const w of words) while (!w.startsWith(common)) common = common.slice(0, -1);
    const put = (text) => {
      entry.setRangeText(text, before.length - word.length, entry.selectionStart, "end");
      offers.hidden = true;
      entry.focus();
    };
    if (common.length > word.length) put(common);
    offers.hidden = words.length === 1;
    replace(
      offers,
      words.slice(0, 60).map((w) => button(w, () => put(w), { role: "option", tabindex: "-1" })),
    );
  }

  entry.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey) (event.preventDefault(), run());
    else if (event.key === "Tab" && !event.shiftKey && entry.value.trim()) (event.preventDefault(), complete());
    else if (event.key === "Escape") offers.hidden = true;
    else if (event.key === "ArrowUp" && !entry.value.includes("\n") && at > 0)
      (event.preventDefault(), (entry.value = lines[--at]));
    else if (event.key === "ArrowDown" && !entry.value.includes("\n") && at < lines.length)
      (event.preventDefault(), (entry.value = lines[++at] ?? ""));
  });
  setTimeout(() => entry.focus(), 0);
  return {
    title: "Lua",
    element: h(
      "div",
      {},
      head("Lua"),
      note(
        "Runs on this node, as in lignum console, and is written to the audit. Enter runs, " +
          "Shift+Enter begins a new line, Tab completes, help() helps.",
      ),
      output,
      h(
        "div",
        { class: "prompt" },
        h("span", { "aria-hidden": "true" }, ">"),
        entry,
        button("Run", run, { class: "primary" }),
      ),
      offers,
    ),
  };
}
