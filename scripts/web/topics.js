import { app, again, parameters, remember } from "./app.js";
import { messages } from "./messages.js";
import {
  badge,
  button,
  bytes,
  complain,
  confirmByName,
  count,
  dialog,
  facts,
  field,
  h,
  head,
  input,
  link,
  plural,
  select,
  table,
  toast,
  when,
} from "./ui.js";

const PAGE = 100;

const columns = [
  ["Topic", (t) => link("#/topics/" + encodeURIComponent(t.name), t.name)],
  ["Messages", (t) => count(t.next - t.first), "number"],
  ["Size", (t) => bytes(t.bytes), "number"],
  ["Replication", (t) => (t.replication === "live" ? `live, ${t.copies} copies` : t.replication)],
  ["Durability", (t) => t.durability],
  ["Last message", (t) => (t.last_time ? when(t.last_time) : "–"), "wide"],
];

// ---- the settings of a topic

// [path, label, hint, words or a number's unit]
const SETTINGS = [
  ["replication", "Replication", "", ["wal", "live"]],
  ["copies", "Copies", "nodes that must have a message; above 1 for live only", 1],
  ["durability", "Durability", "", ["commit", "interval", "os"]],
  ["retain.age", "Keep for", "seconds; 0: without limit", 1],
  ["retain.bytes", "Keep bytes", "0: all", 1],
  ["retain.messages", "Keep messages", "0: all", 1],
  ["expire", "Delete when unused for", "seconds; 0: never", 1],
  ["segment.bytes", "Bytes of a file", "", 1],
  ["segment.messages", "Messages of a file", "", 1],
  ["dedupe.age", "Remember keys for", "seconds", 1],
];
const at = (object, path) => path.split(".").reduce((o, name) => o?.[name], object);

function settingsForm(topic) {
  const controls = SETTINGS.map(([path, label, hint, kind]) => {
    const value = at(topic, path);
    const control = Array.isArray(kind)
      ? select(topic ? kind : ["", ...kind], value ?? "")
      : input({ inputmode: "decimal", value: value ?? "", placeholder: topic ? "" : "by the rules of lignum.lua" });
    return { path, control, was: value, element: field(label, control, hint) };
  });
  // The settings that were changed, as the interface takes them.
  function changed() {
    const all = {};
    for (const { path, control, was } of controls) {
      const text = control.value.trim();
      if (text === "" || text === String(was)) continue;
      const value = control.tagName === "SELECT" ? text : Number(text);
      if (Number.isNaN(value)) throw new Error(`${path}: ${text} is not a number`);
      const [group, name] = path.split(".");
      if (name) (all[group] ??= {})[name] = value;
      else all[path] = value;
    }
    return all;
  }
  return {
    changed,
    element: h(
      "div",
      { class: "fields" },
      controls.map((c) => c.element),
    ),
  };
}

function createTopic() {
  const name = input({ required: true, pattern: "[A-Za-z0-9][A-Za-z0-9._\\-]{0,127}" }),
    form = settingsForm();
  dialog(
    "New topic",
    [field("Name", name, "letters, digits, . _ -"), h("details", {}, h("summary", {}, "Settings"), form.element)],
    "Create",
    async () => {
      await app.api.createTopic(name.value, form.changed());
      toast(`Topic ${name.value} is created.`);
      location.hash = "#/topics/" + encodeURIComponent(name.value);
    },
  );
  name.focus();
}

// ---- the list

async function list() {
  const search = input({
    type: "search",
    value: parameters().get("find") ?? "",
    placeholder: "name, or a pattern with * and ?",
  });
  const internal = h("input", { type: "checkbox", id: "internal" });
  const rows = table("Topics", columns, [], "No topic has such a name.");
  const more = button("Show more", () => load(true), { hidden: true });
  let all = [],
    after,
    asked = 0;

  async function load(further) {
    const mine = ++asked,
      text = search.value.trim();
    remember({ find: text });
    try {
      const answer = await app.api.topics({
        limit: PAGE,
        internal: internal.checked,
        after: further ? after : undefined,
        pattern: text && (/[*?]/.test(text) ? text : `*${text}*`),
      });
      if (mine !== asked) return;
      all = further ? [...all, ...answer.topics] : answer.topics;
      after = answer.after;
      rows.set(all);
      more.hidden = !after;
    } catch (why) {
      complain(why);
    }
  }
  let timer;
  search.addEventListener("input", () => (clearTimeout(timer), (timer = setTimeout(load, 150))));
  internal.addEventListener("change", () => load());
  await load();
  return {
    title: "Topics",
    element: h(
      "div",
      {},
      head("Topics", app.may("admin") && button("New topic", createTopic, { class: "primary" })),
      h(
        "div",
        { class: "bar" },
        field("Find", search),
        h("div", { class: "check" }, internal, h("label", { for: "internal" }, "the broker's own, too")),
      ),
      rows,
      h("div", { class: "actions" }, more),
    ),
  };
}

// ---- one topic

function changeSettings(topic) {
  const form = settingsForm(topic);
  dialog("Settings of " + topic.name, form.element, "Save", async () => {
    const changes = form.changed();
    if (Object.keys(changes).length > 0) {
      await app.api.changeTopic(topic.name, changes);
      toast("The settings are changed.");
      again();
    }
  });
}

function deleteTopic(topic) {
  confirmByName(
    "Delete topic",
    `This deletes ${count(topic.next - topic.first)} messages and all groups of ${topic.name}, on all nodes. ` +
      "It cannot be undone.",
    topic.name,
    "Delete it",
    async () => {
      await app.api.deleteTopic(topic.name);
      toast(`Topic ${topic.name} is deleted.`);
      location.hash = "#/topics";
    },
  );
}

async function one(name) {
  const topic = await app.api.topic(name);
  const groups = await app.api.get(`/v1/topics/${encodeURIComponent(name)}/groups`).then(
    (a) => a.groups,
    () => [],
  );
  const retained = [
    topic.retain.age > 0 && `${count(topic.retain.age)} s`,
    topic.retain.bytes > 0 && bytes(topic.retain.bytes),
    topic.retain.messages > 0 && `${count(topic.retain.messages)} messages`,
  ].filter(Boolean);
  const browser = await messages(topic);
  const admin = app.may("admin") && !name.startsWith("_");
  return {
    title: name,
    leave: browser.leave,
    element: h(
      "div",
      {},
      head(
        name,
        admin && button("Settings", () => changeSettings(topic)),
        admin && button("Delete", () => deleteTopic(topic), { class: "danger quiet" }),
      ),
      topic.damaged > 0 &&
        h("div", { class: "problem bad" }, "Some messages of this topic are damaged on this node."),
      h(
        "details",
        { class: "card more" },
        h(
          "summary",
          {},
          h("span", {}, `${plural(topic.next - topic.first, "message")}, ${bytes(topic.bytes)}`),
          h("span", { class: "dim" }, `${topic.replication}, ${topic.durability}`),
          groups.length > 0 && h("span", { class: "dim" }, plural(groups.length, "group")),
        ),
        facts([
          ["First offset", count(topic.first)],
          ["Next offset", count(topic.next)],
          ["Files", count(topic.segments)],
          ["Kept", retained.length > 0 ? retained.join(", ") : "everything"],
          ["Replication", topic.replication === "live" ? `live, ${topic.copies} copies` : topic.replication],
          ["Durability", topic.durability],
          ["Marks", `tail ${topic.tail} · written ${topic.written} · disk ${topic.disk} · peers ${topic.peers}`],
          ["Id", h("code", {}, topic.id)],
          topic.last_time && ["Last message", when(topic.last_time)],
        ]),
        groups.length > 0 &&
          table(
            "Groups",
            [
              ["Group", (g) => link(`#/groups/${encodeURIComponent(name)}/${encodeURIComponent(g.group)}`, g.group)],
              ["Lag", (g) => count(g.lag), "number"],
              ["In flight", (g) => count(g.leased), "number"],
              ["Dead", (g) => (g.dead > 0 ? badge("warn", count(g.dead)) : "0"), "number"],
            ],
            groups,
          ),
      ),
      browser.element,
    ),
  };
}

export const page = ([name]) => (name ? one(name) : list());
