import { app, again } from "./app.js";
import { full } from "./messages.js";
import {
  ago,
  badge,
  button,
  card,
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
  problem,
  replace,
  select,
  span,
  table,
  toast,
} from "./ui.js";

const path = (g) => `#/groups/${encodeURIComponent(g.topic)}/${encodeURIComponent(g.group)}`;

function state(g) {
  if (g.blocked) return badge("bad", "blocked");
  if (g.dying > 0) return badge("warn", "letters wait");
  if (g.lag > 0 && g.consumers.length === 0) return badge("warn", "no consumers");
  return g.lag > g.leased + g.scheduled ? badge("", "behind") : badge("good", "keeps up");
}

const columns = [
  ["Group", (g) => link(path(g), g.group)],
  ["Topic", (g) => link("#/topics/" + encodeURIComponent(g.topic), g.topic)],
  ["State", state],
  ["Lag", (g) => count(g.lag), "number"],
  ["In flight", (g) => count(g.leased), "number"],
  ["Oldest", (g) => (g.oldest ? span(g.oldest.age) : "–"), "number"],
  ["Redelivered", (g) => count(g.redelivered), "number"],
  ["Dead", (g) => (g.dead > 0 ? badge("warn", count(g.dead)) : "0"), "number"],
];

const SHOWN = 200,
  REFRESH = 3000; // milliseconds between two looks, or 20 times as long as a look takes

// All of them: the one that is stuck may be the last by name.
async function everyGroup() {
  const all = [];
  let after;
  do {
    const page = await app.api.get("/v1/groups?limit=1000" + (after ? "&after=" + encodeURIComponent(after) : ""));
    all.push(...page.groups);
    after = page.after;
  } while (after);
  return all.sort((a, b) => !!b.blocked - !!a.blocked || b.dying - a.dying || b.lag - a.lag);
}

async function list() {
  const search = input({ type: "search", placeholder: "topic or group" });
  const rows = table("Groups", columns, [], "There are no groups.");
  const more = button("Show more", () => show(SHOWN), { hidden: true });
  let all = [],
    shown = SHOWN,
    timer;
  function show(further = 0) {
    const found = all.filter((g) => `${g.topic}/${g.group}`.includes(search.value.trim()));
    shown += further;
    rows.set(found.slice(0, shown));
    more.hidden = found.length <= shown;
  }
  async function load() {
    const began = Date.now();
    all = await everyGroup();
    show();
    return Math.max(REFRESH, 20 * (Date.now() - began));
  }
  function later(pause) {
    timer = setTimeout(async () => {
      const next = await load().catch(() => REFRESH);
      if (timer !== undefined) later(next);
    }, pause);
  }
  search.addEventListener("input", () => show());
  later(await load());
  return {
    title: "Groups",
    leave: () => {
      clearTimeout(timer);
      timer = undefined;
    },
    element: h("div", {}, head("Groups"), h("div", { class: "bar" }, field("Find", search)), rows, h("div", { class: "actions" }, more)),
  };
}

// ---- what can be done with a group

function seek(api, g) {
  const to = input({ required: true, value: "latest" });
  dialog(
    "Move the cursor of " + g.group,
    [
      h("p", {}, "All leases end, and every message from there on is delivered, also those that were settled."),
      field("To", to, "earliest, latest, an offset, a token or a time"),
    ],
    "Move it",
    async () => {
      await api.seek(/^\d+$/.test(to.value) ? Number(to.value) : to.value.trim());
      toast("The cursor is moved.");
      again();
    },
  );
}

function redrive(api, g) {
  const limit = input({ inputmode: "numeric", value: "1000" }),
    to = input({ placeholder: g.topic });
  dialog(
    "Publish dead letters again",
    [
      h(
        "p",
        {},
        `Letters of this group in ${g.settings.dead_letter} are published again, the oldest first, each once.`,
      ),
      field("At most", limit),
      field("To topic", to, "optional"),
    ],
    "Publish again",
    async () => {
      const { published } = await api.redrive({
        limit: Number(limit.value),
        ...(to.value.trim() && { to: to.value.trim() }),
      });
      toast(`${count(published)} letters are published again.`);
      again();
    },
  );
}

const NUMBERS = [
  ["lease_time", "Lease", "seconds"],
  ["deliveries", "Deliveries", "after which a message is dead; 0: no bound"],
  ["lease_max", "In flight at once", ""],
];

function settings(api, g) {
  const controls = NUMBERS.map(([name, label, hint]) => [
    name,
    input({ inputmode: "decimal", value: g.settings[name] }),
    label,
    hint,
  ]);
  const order = select(["none", "key"], g.settings.order),
    letters = input({ value: g.settings.dead_letter ?? "" });
  dialog(
    "Settings of " + g.group,
    [
      controls.map(([, control, label, hint]) => field(label, control, hint)),
      field("Order", order, "key: one message of a key at a time"),
      field("Dead letters to", letters, "a topic; empty: nowhere"),
    ],
    "Save",
    async () => {
      const changes = {};
      for (const [name, control] of controls)
        if (control.value !== String(g.settings[name])) changes[name] = Number(control.value);
      if (order.value !== g.settings.order) changes.order = order.value;
      if (letters.value !== (g.settings.dead_letter ?? "")) changes.dead_letter = letters.value || null;
      await api.change(changes);
      toast("The settings are changed.");
      again();
    },
  );
}

// ---- one group

const STATES = {
  leased: "A consumer has it.",
  delayed: "It waits for its next delivery.",
  ready: "It can be delivered at once.",
  held: "It waits behind an earlier message of its key.",
  new: "It was not delivered yet.",
};

const BLOCKED = {
  leased: "which is leased",
  delayed: "which is delayed",
  dying: "which is dead, and its letter is not written yet",
  ready: "which nobody claims",
};

const blocked = ({ offset, reason, held, consumer, key }) =>
  `The group is blocked: too many messages are out. Most wait for offset ${count(offset)}, ${BLOCKED[reason]}` +
  `${consumer ? ` by ${consumer}` : ""}${key ? `, with key ${key}` : ""}; ${plural(held, "message")} of its key wait behind it.`;

async function stuck(g) {
  if (!g.oldest) return h("p", { class: "calm" }, "Everything is settled.");
  const o = g.oldest;
  const why = [
    o.state && STATES[o.state],
    o.consumer && `Consumer ${o.consumer} has it.`,
    o.deliveries > 0 && `${plural(o.deliveries, "delivery of it has", "deliveries of it have")} failed.`,
    g.consumers.length === 0 && "Nobody has claimed messages lately.",
  ]
    .filter(Boolean)
    .join(" ");
  const m = await app.api.read(g.topic, { from: o.offset, limit: 1 }).then(
    (a) => a.messages[0],
    () => undefined,
  );
  return h(
    "div",
    {},
    g.blocked && h("p", { class: "problem bad" }, blocked(g.blocked)),
    h(
      "p",
      {},
      "Offset ",
      link(`#/topics/${encodeURIComponent(g.topic)}?from=${o.offset}`, count(o.offset)),
      `, ${span(o.age)} old. `,
      why,
    ),
    m && full(m),
  );
}

async function letters(g) {
  const topic = g.settings.dead_letter,
    info = await app.api.topic(topic).catch(() => null);
  if (!info || info.next === info.first) return h("p", { class: "calm" }, `There are no letters in ${topic}.`);
  const { messages } = await app.api.read(topic, { from: Math.max(info.first, info.next - 200), limit: 200 });
  const mine = messages
    .filter((m) => m.headers["lignum-dead-group"] === g.group && m.headers["lignum-dead-topic"] === g.topic)
    .reverse();
  return table(
    "Dead letters",
    [
      ["Letter", (m) => link(`#/topics/${encodeURIComponent(topic)}?from=${m.offset}`, count(m.offset))],
      [
        "Of message",
        (m) => {
          const offset = m.headers["lignum-dead-offset"]?.split(":")[1];
          return offset ? link(`#/topics/${encodeURIComponent(g.topic)}?from=${offset}`, count(Number(offset))) : "–";
        },
      ],
      ["Deliveries", (m) => m.headers["lignum-dead-deliveries"] ?? "–", "number"],
      ["Why", (m) => m.headers["lignum-dead-why"] ?? "–", "wide"],
      ["When", (m) => ago(m.time), "number"],
    ],
    mine,
    "None of the last 200 letters are this group's.",
  );
}

async function one(topic, name) {
  const api = app.api.group(topic, name),
    numbers = h("div"),
    consumers = table(
      "Consumers",
      [
        ["Consumer", (c) => c.name || "(without a name)"],
        ["In flight", (c) => count(c.leased), "number"],
        [
          "Last claim",
          (c) => (c.last ? ago(typeof c.last === "number" ? new Date(c.last * 1000).toISOString() : c.last) : "–"),
          "number",
        ],
      ],
      [],
      "No consumer has messages in flight, or has claimed any lately.",
    );
  let g = await api.info(),
    last;
  const oldest = h("div");
  async function show() {
    replace(
      numbers,
      facts([
        ["State", state(g)],
        ["Lag", count(g.lag)],
        ["In flight", count(g.leased)],
        ["Delayed", count(g.scheduled)],
        ["Redelivered", count(g.redelivered)],
        ["Dead", count(g.dead)],
        ["Removed unsettled", count(g.removed)],
        ["Cursor", h("code", {}, g.cursor)],
        ["Lease", `${g.settings.lease_time} s`],
        ["Deliveries", g.settings.deliveries || "no bound"],
        ["Order", g.settings.order],
      ]),
    );
    consumers.set(g.consumers);
    const mark = JSON.stringify([g.oldest?.offset, g.oldest?.state, g.oldest?.deliveries, g.blocked]);
    if (mark !== last) replace(oldest, await stuck(g));
    last = mark;
  }
  await show();
  const timer = setInterval(async () => {
    try {
      g = await api.info();
      await show();
    } catch (why) {
      if (why.status === 404) (replace(numbers, problem(why)), clearInterval(timer));
    }
  }, 3000);
  const dead = g.settings.dead_letter ? card("Dead letters", await letters(g).catch(problem)) : null;
  const admin = app.may("admin");
  return {
    title: name,
    leave: () => clearInterval(timer),
    element: h(
      "div",
      {},
      head(
        name,
        admin && button("Move cursor", () => seek(api, g)),
        admin && g.settings.dead_letter && button("Redrive", () => redrive(api, g)),
        admin && button("Settings", () => settings(api, g)),
        admin &&
          button(
            "Delete",
            () =>
              confirmByName(
                "Delete group",
                `This deletes group ${name}; its messages stay in ${topic}. Consumers get an error.`,
                name,
                "Delete it",
                async () => {
                  await api.delete();
                  toast(`Group ${name} is deleted.`);
                  location.hash = "#/groups";
                },
              ),
            { class: "danger quiet" },
          ),
      ),
      h("p", { class: "dim" }, "Of topic ", link("#/topics/" + encodeURIComponent(topic), topic)),
      h("div", { class: "card" }, numbers),
      card("The oldest message that is not settled", oldest),
      card("Consumers", consumers),
      dead,
    ),
  };
}

export const page = ([topic, name]) => (topic && name ? one(topic, name) : list());
