// The message browser of a topic: pages by offset, token or time, a filter, one message in full, the live tail,
// publishing.
import { app, parameters, remember } from "./app.js";
import { badge, button, bytes, complain, count, dialog, field, h, input, replace, toast, when } from "./ui.js";

const PAGE = 50,
  TAIL = 500,
  SCANNED = 100000,
  LOOKED = 10000000,
  SCAN = 1000;

// A filter that the node can apply itself: key=VALUE or header.NAME=VALUE, as parameters of a read.
function condition(text) {
  const [, name, value] = /^(key|header\.[^=\s]+)=(.*)$/.exec(text) ?? [];
  return name && { [name.startsWith("header.") ? name.toLowerCase() : name]: value };
}

const hex2 = (n) => n.toString(16).padStart(2, "0");

function hexOf(data) {
  const lines = [];
  for (let i = 0; i < data.length && i < 64 * 1024; i += 16) {
    const row = [...data.subarray(i, i + 16)];
    lines.push(
      `${i.toString(16).padStart(6, "0")}  ${row.map(hex2).join(" ").padEnd(48)}  ${row
        .map((b) => (b >= 32 && b < 127 ? String.fromCharCode(b) : "."))
        .join("")}`,
    );
  }
  return lines.join("\n") + (data.length > 64 * 1024 ? `\n... ${bytes(data.length)} in all` : "");
}

function parsed(text) {
  if (!/^\s*[[{"]/.test(text)) return undefined;
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

// JSON as elements, coloured by kind; large values are cut off.
function pretty(value) {
  const text = JSON.stringify(value, null, 2),
    out = [];
  const kinds = /("(?:\\.|[^"\\])*")(\s*:)?|\b(true|false|null)\b|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g;
  let last = 0;
  for (const m of text.slice(0, 256 * 1024).matchAll(kinds)) {
    out.push(text.slice(last, m.index));
    const kind = m[1] ? (m[2] ? "key" : "string") : m[3] ? "word" : "number";
    out.push(h("span", { class: "j-" + kind }, m[1] ?? m[0]), m[2] ?? "");
    last = m.index + m[0].length;
  }
  return h("pre", { class: "payload" }, out, text.slice(last, 256 * 1024));
}

// One message in full: its headers, and its payload in the form that fits.
export function full(m) {
  const data = m.bytes(),
    text = m.base64 === undefined ? m.text() : undefined,
    json = text === undefined ? undefined : parsed(text);
  const forms = [json !== undefined && "JSON", text !== undefined && "Text", "Hex"].filter(Boolean);
  const view = h("div"),
    buttons = forms.map((form) => button(form, () => show(form), { "aria-pressed": "false" }));
  function show(form) {
    for (const [i, b] of buttons.entries()) b.setAttribute("aria-pressed", String(forms[i] === form));
    replace(
      view,
      form === "JSON"
        ? pretty(json)
        : h("pre", { class: "payload" }, form === "Text" ? text.slice(0, 1 << 20) : hexOf(data)),
    );
  }
  show(forms[0]);
  const headers = Object.entries(m.headers);
  return h(
    "div",
    { class: "full" },
    h(
      "div",
      { class: "bar" },
      h("div", { class: "segmented", role: "group", "aria-label": "Form" }, buttons),
      h("span", { class: "dim" }, `${bytes(data.length)} · epoch ${m.epoch}`),
      text !== undefined &&
        button("Copy", () => navigator.clipboard.writeText(text).then(() => toast("Copied."), complain), {
          class: "quiet",
        }),
    ),
    headers.length > 0 &&
      h(
        "dl",
        { class: "headers" },
        headers.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))),
      ),
    view,
  );
}

function row(m) {
  const text = m.base64 === undefined ? m.text() : "";
  const details = h(
    "details",
    { class: "message" },
    h(
      "summary",
      {},
      h("span", { class: "offset" }, count(m.offset)),
      when(m.time),
      h("span", { class: "name" }, m.key ?? (m.key_base64 ? "(bytes)" : "")),
      h(
        "span",
        { class: "preview" },
        m.base64 === undefined ? text.slice(0, 300) : `${bytes(m.bytes().length)} of bytes`,
      ),
    ),
  );
  details.addEventListener("toggle", () => {
    if (details.open && details.children.length === 1) details.append(full(m));
  });
  return details;
}

function publish(topic, published) {
  const body = h("textarea", { rows: "8", spellcheck: "false" }),
    key = input(),
    headers = h("textarea", { rows: "2", spellcheck: "false" });
  dialog(
    "Publish to " + topic.name,
    [
      field("Message", body),
      field("Key", key, "optional"),
      field("Headers", headers, "optional: one a line, as name: value"),
    ],
    "Publish",
    async () => {
      const message = { data: body.value };
      if (key.value) message.key = key.value;
      for (const line of headers.value.split("\n").filter((l) => l.trim())) {
        const at = line.indexOf(":");
        if (at <= 0) throw new Error(`the header ${line} must have the form name: value`);
        (message.headers ??= {})[line.slice(0, at).trim()] = line.slice(at + 1).trim();
      }
      const receipt = await app.api.publish(topic.name, message);
      toast(
        receipt.first === undefined
          ? "It was published before."
          : `Published at offset ${count(receipt.first)} of ${receipt.topic}.`,
      );
      published();
    },
  );
  body.focus();
}

export async function messages(topic) {
  const name = topic.name,
    asked = parameters();
  const from = input({ value: asked.get("from") ?? "", placeholder: "newest", size: 18 });
  const filter = input({ type: "search", placeholder: "text, or key=... or header.NAME=..." });
  const list = h("div", { class: "messages", role: "region", "aria-label": "Messages" });
  const state = h("span", { class: "dim", role: "status" });
  const tailButton = button("Follow", () => (tailing ? stopTail() : tail()), { "aria-pressed": "false" });
  const older = button("Older", () => go(Math.max(topic.first, first - PAGE)));
  const newer = button("Newer", () => go(next));
  const newest = button("Newest", () => go(undefined));
  let first = 0,
    next = 0,
    tailing,
    searching;

  const taken = (m) => {
    const text = filter.value.trim().toLowerCase(),
      asked = condition(filter.value.trim());
    if (asked) {
      const [[name, value]] = Object.entries(asked);
      return (name === "key" ? m.key : m.headers[name.slice("header.".length)]) === value;
    }
    return (
      !text ||
      (m.key ?? "").toLowerCase().includes(text) ||
      (m.base64 === undefined && m.text().toLowerCase().includes(text)) ||
      Object.entries(m.headers).some(([n, v]) => `${n}: ${v}`.toLowerCase().includes(text))
    );
  };

  function show(found, said) {
    replace(
      list,
      found.length > 0
        ? found.map(row)
        : h("p", { class: "none" }, filter.value.trim() ? "No message is like that." : "No messages here."),
    );
    replace(state, said);
  }

  async function go(place) {
    stopTail();
    searching?.abort();
    const mine = (searching = new AbortController());
    try {
      const info = await app.api.topic(name);
      Object.assign(topic, info);
      const text = filter.value.trim(),
        asked = condition(text);
      const start = place ?? (asked ? info.first : Math.max(info.first, info.next - PAGE));
      const found = [];
      let at = start,
        scanned = 0,
        before;
      // Without a filter this is one page; with one it reads on until a page is full. What the node filters comes as
      // it is found: a list without messages is not the end.
      do {
        const answer = await app.api.read(name, {
          from: at,
          limit: text && !asked ? SCAN : PAGE,
          ...asked,
          signal: mine.signal,
        });
        if (before === undefined)
          first = typeof start === "number" ? start : (answer.messages[0]?.offset ?? (asked ? answer.next : info.next));
        found.push(...(asked ? answer.messages : answer.messages.filter(taken)));
        scanned = asked ? answer.next - first : scanned + answer.messages.length;
        next = answer.next;
        at = answer.next_token ?? answer.next;
        if (next === before || (!asked && answer.messages.length === 0)) break;
        before = next;
        if (text) replace(state, `searched ${count(scanned)} messages, found ${count(found.length)}`);
      } while (text && found.length < PAGE && scanned < (asked ? LOOKED : SCANNED) && next < info.next);
      if (mine.signal.aborted) return;
      const said = text
        ? `${count(found.length)} of ${count(scanned)} messages from ${count(first)} to ${count(next)}`
        : found.length > 0
          ? `${count(first)} to ${count(next - 1)} of ${count(info.first)} to ${count(info.next - 1)}`
          : "";
      show(found, said);
      older.disabled = first <= info.first;
      newer.disabled = next >= info.next;
      remember({ from: place === undefined ? "" : String(place) });
      from.value = place === undefined ? "" : String(place);
    } catch (why) {
      if (mine.signal.aborted) return;
      if (why.code === "offset_gone") return go(why.earliest);
      complain(why);
    }
  }

  async function tail() {
    searching?.abort();
    const mine = (tailing = new AbortController());
    tailButton.setAttribute("aria-pressed", "true");
    tailButton.textContent = "Stop";
    show([], "");
    replace(state, badge("good", "live"), " new messages appear at the top");
    let seen = 0;
    const waiting = [];
    const draw = () => {
      if (seen === 0 && waiting.length > 0) list.replaceChildren();
      seen += waiting.length;
      list.prepend(...waiting.splice(0).slice(-TAIL).reverse().map(row));
      while (list.children.length > TAIL) list.lastChild.remove();
    };
    const timer = setInterval(draw, 200);
    try {
      for await (const m of app.api.follow(name, {
        from: "latest",
        signal: mine.signal,
        onTruncated: (offset) => toast(`Messages from ${count(offset)} on were truncated by another leader.`, "bad"),
        onState: (s) =>
          replace(
            state,
            s === "open" ? [badge("good", "live"), " new messages appear at the top"] : badge("bad", "reconnects"),
          ),
      }))
        if (taken(m)) waiting.push(m);
    } catch (why) {
      complain(why);
    } finally {
      clearInterval(timer);
      if (tailing === mine) stopTail();
    }
  }

  function stopTail() {
    tailing?.abort();
    tailing = undefined;
    tailButton.setAttribute("aria-pressed", "false");
    tailButton.textContent = "Follow";
  }

  // What may stand in From: an offset, a token, a time, earliest, latest.
  function place() {
    const text = from.value.trim();
    return text === "" ? undefined : /^\d+$/.test(text) ? Number(text) : text;
  }

  const element = h(
    "section",
    { "aria-label": "Message browser" },
    h(
      "form",
      { class: "bar tools", onsubmit: (event) => (event.preventDefault(), go(place())) },
      field("From", from, "offset, token, time, -15m, earliest"),
      field("Filter", filter),
      h("button", {}, "Show"),
      tailButton,
      app.may("publish") &&
        !name.startsWith("_") &&
        button("Publish", () => publish(topic, () => tailing || go(undefined)), { class: "primary" }),
    ),
    list,
    h("div", { class: "bar pager" }, older, newer, newest, state),
  );
  if (asked.has("from")) await go(place());
  else await go(undefined);
  return { element, leave: () => (stopTail(), searching?.abort()) };
}
