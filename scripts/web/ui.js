// The console's few building blocks: elements, formats, tables, dialogs, toasts. Text is always set as text.

const SVG = "http://www.w3.org/2000/svg";

function fill(element, props, children) {
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "value" || name === "checked" || name === "disabled" || name === "readOnly")
      element[name] = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((c) => c !== undefined && c !== null && c !== false));
  return element;
}

export const h = (tag, props, ...children) => fill(document.createElement(tag), props, children);
export const s = (tag, props, ...children) => fill(document.createElementNS(SVG, tag), props, children);

export function replace(element, ...children) {
  element.replaceChildren(...children.flat(Infinity).filter((c) => c !== undefined && c !== null && c !== false));
}

// ---- formats

const whole = new Intl.NumberFormat("en"),
  short = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });

export const count = (n) => (n === undefined || n === null ? "–" : whole.format(n));

export function bytes(n) {
  if (n === undefined || n === null) return "–";
  let unit = 0;
  for (; Math.abs(n) >= 1024 && unit < 5; unit++) n /= 1024;
  return short.format(n) + " " + ["B", "KiB", "MiB", "GiB", "TiB", "PiB"][unit];
}

export function compact(n) {
  let unit = 0;
  for (; Math.abs(n) >= 10000 && unit < 3; unit++) n /= 1000;
  return short.format(n) + ["", "k", "M", "G"][unit];
}

export function span(seconds) {
  if (seconds === undefined || seconds === null) return "–";
  for (const [size, unit, part, rest] of [
    [86400, "d", 3600, "h"],
    [3600, "h", 60, "min"],
    [60, "min", 1, "s"],
  ])
    if (seconds >= size) {
      const more = Math.floor((seconds % size) / part);
      return `${Math.floor(seconds / size)} ${unit}${more > 0 ? ` ${more} ${rest}` : ""}`;
    }
  if (seconds >= 1) return short.format(seconds) + " s";
  return seconds === 0
    ? "0 s"
    : seconds >= 0.001
      ? short.format(seconds * 1000) + " ms"
      : short.format(seconds * 1e6) + " µs";
}

export const ago = (time) => span(Math.max(0, Math.round((Date.now() - Date.parse(time)) / 1000))) + " ago";

export const plural = (n, one, many = one + "s") => `${count(n)} ${n === 1 ? one : many}`;

export const when = (time) =>
  h("time", { datetime: time, title: time }, String(time).replace("T", " ").replace("Z", ""));

// ---- pieces

// A sentence with `code` in it.
export const prose = (text) => text.split("`").map((part, i) => (i % 2 ? h("code", {}, part) : part));

export const badge = (kind, text) => h("span", { class: "badge " + kind }, text);
export const link = (href, text, more) => h("a", { href, ...more }, text);
export const button = (text, onclick, more) => h("button", { type: "button", onclick, ...more }, text);
export const note = (text) => h("p", { class: "note" }, text);

export function head(title, ...actions) {
  return h("div", { class: "head" }, h("h1", { tabindex: "-1" }, title), h("div", { class: "actions" }, actions));
}

export function card(title, ...children) {
  return h("section", { class: "card" }, title && h("h2", {}, title), children);
}

// A table of columns [title, cell(row), kind]. On narrow screens each row becomes a block, labelled by the titles.
export function table(caption, columns, rows, empty = "Nothing here.") {
  const body = h("tbody");
  const cells = (row) =>
    columns.map(([title, cell, kind], i) =>
      h(i === 0 ? "th" : "td", { scope: i === 0 ? "row" : false, "data-title": title, class: kind }, cell(row)),
    );
  const set = (list) =>
    replace(
      body,
      list.length > 0
        ? list.map((row) => h("tr", {}, cells(row)))
        : h("tr", { class: "empty" }, h("td", { colspan: columns.length }, empty)),
    );
  set(rows);
  const element = h(
    "div",
    { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
    h(
      "table",
      {},
      h("caption", { class: "hidden" }, caption),
      h(
        "thead",
        {},
        h(
          "tr",
          {},
          columns.map(([title, , kind]) => h("th", { scope: "col", class: kind }, title)),
        ),
      ),
      body,
    ),
  );
  return Object.assign(element, { set });
}

let numbers = 0;

// A labelled control. `control` is an element; the hint describes it.
export function field(label, control, hint) {
  control.id = control.id || "f" + ++numbers;
  const id = control.id + "-hint";
  if (hint) control.setAttribute("aria-describedby", id);
  return h(
    "div",
    { class: "field" },
    h("label", { for: control.id }, label),
    control,
    hint && h("small", { id }, hint),
  );
}

export const input = (more) => h("input", { type: "text", autocomplete: "off", spellcheck: "false", ...more });

export const select = (options, value, more) =>
  h(
    "select",
    more,
    options.map((o) => h("option", { value: o, selected: o === value }, o)),
  );

export function facts(pairs) {
  return h(
    "dl",
    { class: "facts" },
    pairs.filter(Boolean).map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))),
  );
}

export function toast(text, kind = "good") {
  const element = h(
    "div",
    { class: "toast " + kind },
    h("span", {}, text),
    button("Close", () => element.remove(), { class: "quiet" }),
  );
  document.getElementById("toasts").append(element);
  if (kind === "good") setTimeout(() => element.remove(), 5000);
}

export const complain = (why) => toast(why.code ? `${why.code}: ${why.message}` : String(why.message ?? why), "bad");

export const problem = (why) =>
  h(
    "div",
    { class: "problem bad", role: "alert" },
    h("strong", {}, why.code || "error"),
    " ",
    why.message ?? String(why),
  );

// A modal dialog with a form. `submit` gets the dialog's form; the dialog closes when its promise is kept.
export function dialog(title, content, action, submit, kind = "primary") {
  const error = h("div", { "aria-live": "assertive" });
  const go = h("button", { class: kind }, action);
  const box = h(
    "dialog",
    { "aria-label": title },
    h(
      "form",
      {
        onsubmit: async (event) => {
          event.preventDefault();
          go.disabled = true;
          try {
            await submit();
            box.close();
          } catch (why) {
            replace(error, problem(why));
          } finally {
            go.disabled = false;
          }
        },
      },
      h("h2", {}, title),
      content,
      error,
      h(
        "div",
        { class: "actions" },
        button("Cancel", () => box.close(), { class: "quiet" }),
        go,
      ),
    ),
  );
  box.addEventListener("close", () => box.remove());
  document.body.append(box);
  box.showModal();
  return { box, go };
}

// Asks for the name of what is to be deleted before the button can be pressed.
export function confirmByName(title, what, name, action, submit) {
  const typed = input({ oninput: () => (go.disabled = typed.value !== name) });
  const { go } = dialog(title, [h("p", {}, what), field(`Type ${name} to confirm`, typed)], action, submit, "danger");
  go.disabled = true;
  typed.focus();
}

// ---- charts

// A live chart of one quantity. `values` are numbers, the newest last.
export function chart(title, unit) {
  const WIDTH = 300,
    HEIGHT = 64,
    POINTS = 150,
    FEWEST = 30;
  const now = h("output", {}, "–"),
    most = h("span", { class: "most" });
  const line = s("path", { class: "line", fill: "none" }),
    area = s("path", { class: "area" });
  const picture = s(
    "svg",
    {
      viewBox: `0 0 ${WIDTH} ${HEIGHT}`,
      preserveAspectRatio: "none",
      role: "img",
      "aria-label": title + " over the last five minutes",
    },
    area,
    line,
  );
  const element = h("figure", { class: "chart" }, h("figcaption", {}, h("span", {}, title), now), picture, most);
  return Object.assign(element, {
    set(values) {
      const list = values.slice(-POINTS),
        top = Math.max(...list, 0) * 1.1 || 1;
      const step = WIDTH / (Math.max(list.length, FEWEST) - 1);
      const points = list.map((v, i) => [
        WIDTH - (list.length - 1 - i) * step,
        HEIGHT - 2 - (v / top) * (HEIGHT - 6),
      ]);
      const path = points.map(([x, y], i) => `${i === 0 ? "M" : "L"}${x.toFixed(1)} ${y.toFixed(1)}`).join("");
      line.setAttribute("d", path);
      area.setAttribute("d", path && `${path}L${WIDTH} ${HEIGHT}L${points[0][0].toFixed(1)} ${HEIGHT}Z`);
      now.textContent = list.length > 0 ? unit(list[list.length - 1]) : "–";
      most.textContent = list.length > 0 ? "max " + unit(Math.max(...list)) : "";
    },
  });
}
