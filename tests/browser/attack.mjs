// Drives a real Chromium through what a page can try with a node, and prints what happened, as JSON.
//     node attack.mjs CHROMIUM '{"plain": port, "foreign": port, "app": port, "tls": port}'
// foreign.test and app.test serve an empty page on 127.0.0.1; rebind.test is a name that "has become" 127.0.0.1.
import { chromium } from "playwright-core";

const [program, text] = process.argv.slice(2);
const ports = JSON.parse(text);
const node = `http://127.0.0.1:${ports.plain}`;
const publish = node + "/v1/topics/t/messages";

// Newer browsers ask their user before a page reaches loopback. Others do not, so that is switched off.
const browser = await chromium.launch({
  executablePath: program,
  args: ["--no-sandbox", "--disable-gpu", "--no-proxy-server", "--disable-features=LocalNetworkAccessChecks",
    "--host-resolver-rules=MAP *.test 127.0.0.1"],
});

// What becomes of a promise in the page: its value, or the name of its error.
const outcome = (page, fn, arg) => page.evaluate(fn, arg).catch((e) => "refused: " + String(e).split("\n")[0]);

async function open(url, options) {
  const context = await browser.newContext(options);
  const page = await context.newPage();
  const visit = () => page.goto(url).catch((e) => ({ status: () => String(e).split("\n")[0] }));
  let response = await visit();
  for (let i = 0; i < 20 && String(response.status()).includes("ERR_NETWORK_CHANGED"); i++) response = await visit();
  return { page, response };
}

// The statuses with which the node answers requests to a URL, as the browser sees them.
async function statuses(page, url, act) {
  const seen = [];
  const note = (r) => r.url().startsWith(url) && seen.push(r.status());
  page.on("response", note);
  await act();
  for (let i = 0; i < 500 && seen.length === 0; i++) await page.waitForTimeout(20);
  page.off("response", note);
  return seen;
}

async function form(page, enctype) {
  return statuses(page, publish, () => page.evaluate(([action, type]) => {
    const f = document.createElement("form");
    Object.assign(f, { method: "post", action, enctype: type, target: "sink of " + type });
    const frame = document.createElement("iframe");
    frame.name = f.target;
    const field = document.createElement("input");
    Object.assign(field, { name: "a", value: "b" });
    f.append(field);
    document.body.append(frame, f);
    f.submit();
  }, [publish, enctype]));
}

// Chromium does not say with which status an image was answered that is none.
const image = (page, url) => page.evaluate((src) => new Promise((done) => {
  const i = new Image();
  i.onload = () => done("loaded");
  i.onerror = () => done("refused by the browser or the node");
  i.src = src;
}), url);

async function foreign() {
  const { page } = await open(`http://foreign.test:${ports.foreign}/`);
  const found = { forms: {} };
  for (const type of ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
    found.forms[type] = await form(page, type);
  found.noCors = await statuses(page, publish, () => outcome(page, (url) =>
    fetch(url, { method: "POST", mode: "no-cors", body: "x" }).then((r) => r.type), publish));
  found.beacon = await outcome(page, (url) => navigator.sendBeacon(url, "x"), publish);
  found.cors = await outcome(page, (url) => fetch(url, { method: "POST", body: "x" }).then((r) => r.status), publish);
  found.put = await outcome(page, (url) => fetch(url, { method: "PUT" }).then((r) => r.status), node + "/v1/topics/made");
  found.read = await outcome(page, (url) => fetch(url).then((r) => r.text()), publish);
  found.image = await image(page, node + "/own");
  found.script = await outcome(page, (src) => new Promise((yes, no) => {
    const s = document.createElement("script");
    Object.assign(s, { src, onload: () => yes("loaded"), onerror: () => no(new Error("no script")) });
    document.body.append(s);
  }), publish + "?raw=1");
  found.events = await outcome(page, (url) => new Promise((yes, no) => {
    const e = new EventSource(url);
    e.onopen = () => yes("open");
    e.onerror = () => no(new Error("no events"));
  }), publish);
  found.link = await statuses(page, node + "/own", () =>
    outcome(page, (url) => { location.href = url; }, node + "/own"));
  return found;
}

// The first page of rebind.test comes from the attacker; everything after it from where the name leads now: the node.
async function rebinding() {
  const origin = `http://rebind.test:${ports.plain}`;
  const context = await browser.newContext();
  const page = await context.newPage();
  await page.route(origin + "/", (route) => route.fulfill({ contentType: "text/html", body: "<body></body>" }));
  await page.goto(origin + "/");
  const status = (url, options) => outcome(page, ([u, o]) => fetch(u, o).then((r) => r.status), [url, options]);
  return {
    read: await status(origin + "/v1/topics"), write: await status(origin + "/v1/topics/t/messages", { method: "POST", body: "x" }),
    own: await status(origin + "/own"),
  };
}

async function listed() {
  const { page } = await open(`http://app.test:${ports.app}/`);
  return {
    post: await outcome(page, (url) => fetch(url, { method: "POST", body: "from the app",
      headers: { "Lignum-Key": "asked for by a preflight" } }).then((r) => r.status), publish),
    read: await outcome(page, (url) => fetch(url + "?raw=1").then((r) => r.text()), publish),
    error: await outcome(page, (url) => fetch(url).then((r) => r.json()).then((j) => j.code), node + "/v1/topics/none/messages"),
  };
}

async function own() {
  const { page, response } = await open(node + "/ping");
  return { page: response.status(), read: await outcome(page, () => fetch("/v1/topics").then((r) => r.status)) };
}

async function secure() {
  const url = `https://127.0.0.2:${ports.tls}/ping`;
  const stranger = await open(url);
  const trusting = await open(url, { ignoreHTTPSErrors: true });
  const details = await trusting.response.securityDetails?.();
  return { stranger: stranger.response.status(), trusting: trusting.response.status(), protocol: details?.protocol };
}

const found = { foreign: await foreign(), rebinding: await rebinding(), listed: await listed(), own: await own(), secure: await secure() };
await browser.close();
console.log(JSON.stringify(found));
