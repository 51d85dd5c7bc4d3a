// Uses the web console in a real Chromium as a person does, and prints what happened, as JSON.
//     node console.mjs CHROMIUM SCENARIO '{"url": ..., "token": ..., "reader": ...}'
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import { chromium } from "playwright-core";

const [program, scenario, text] = process.argv.slice(2);
const given = JSON.parse(text);
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const browser = await chromium.launch({
  executablePath: program,
  args: ["--no-sandbox", "--disable-gpu", "--no-proxy-server"],
});
const log = []; // what a browser's log should not have

async function open(options) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
  return [context, await tab(context)];
}

async function tab(context) {
  const page = await context.newPage();
  page.setDefaultTimeout(15000);
  page.on("console", (m) => ["error", "warning"].includes(m.type()) && log.push(m.text()));
  page.on("pageerror", (e) => log.push(String(e)));
  await page.goto(given.url + "/console");
  return page;
}

async function signIn(page, token) {
  await page.getByLabel("Access token").fill(token);
  await page.getByRole("button", { name: "Sign in" }).click();
}

const title = (page, name) => page.getByRole("heading", { level: 1, name, exact: true }).waitFor();
const press = (page, name) => page.getByRole("button", { name, exact: true }).click();
const follow = (page, name) => page.getByRole("link", { name, exact: true }).first().click();
const told = (page, words) => page.locator(".toast", { hasText: words }).waitFor();

async function visit(page, hash) {
  await page.evaluate((to) => {
    location.hash = to;
  }, hash);
  await page.locator("main:not([aria-busy]) h1").waitFor();
}

async function violations(page) {
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() =>
    globalThis.axe.run(document, {
      runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
    }),
  );
  return violations.map(
    (v) => `${page.url()}: ${v.id}: ${v.nodes.map((n) => `${n.html.slice(0, 120)} ${n.failureSummary}`).join(" | ")}`,
  );
}

// ---- every page, in both colours and at both widths: axe, the log, and whether anything is wider than the screen
async function tour() {
  const found = { violations: [], wide: [], pages: 0 };
  for (const [width, colorScheme] of [
    [1280, "light"],
    [360, "dark"],
  ]) {
    const [context, page] = await open({ colorScheme, viewport: { width, height: 800 } });
    await page.getByLabel("Access token").waitFor();
    found.violations.push(...(await violations(page)));
    await signIn(page, given.token);
    await title(page, "Overview");
    for (const hash of given.pages) {
      await visit(page, hash);
      if (hash.startsWith("#/topics/")) await page.locator("details.message summary").first().click();
      await page.waitForTimeout(100);
      found.violations.push(...(await violations(page)));
      if (await page.evaluate(() => document.documentElement.scrollWidth > innerWidth))
        found.wide.push(`${width} ${hash}`);
      found.pages++;
    }
    await context.close();
  }
  return found;
}

// ---- the main job of each page
async function jobs() {
  const [, page] = await open(),
    found = {};
  await signIn(page, "lgn_wrong");
  found.refused = await page.getByRole("alert").innerText();
  await signIn(page, given.token);
  await title(page, "Overview");
  found.leader = await page.locator(".facts", { hasText: "Leader" }).innerText();

  await follow(page, "Topics");
  await press(page, "New topic");
  await page.getByLabel("Name", { exact: true }).fill("made.here");
  await press(page, "Create");
  await title(page, "made.here");
  await press(page, "Publish");
  await page.getByLabel("Message", { exact: true }).fill('{"total": 12, "deep": {"list": [1, true, null]}}');
  await page.getByLabel("Key", { exact: true }).fill("customer-1");
  await page.getByLabel("Headers", { exact: true }).fill("trace: abc\nlang: de");
  await page.getByRole("dialog").getByRole("button", { name: "Publish" }).click();
  await told(page, "Published at offset 0 of made.here");
  const first = page.locator("details.message").first();
  await first.locator("summary").click();
  found.pretty = await first.locator("pre").innerText();
  found.headers = await first.locator(".headers").innerText();
  await first.getByRole("button", { name: "Hex" }).click();
  found.hex = (await first.locator("pre").innerText()).split("\n")[0];
  await page.getByLabel("Filter").fill("customer-2");
  await press(page, "Show");
  await page.getByText("No message is like that.").waitFor();
  await page.getByLabel("Filter").fill("trace: ab");
  await press(page, "Show");
  await page.locator("details.message").first().waitFor();
  const asked = [];
  page.on("request", (r) => r.url().includes("/messages?") && asked.push(new URL(r.url()).search));
  for (const [filter, text] of [
    ["key=customer-1", '"total"'],
    ["header.Lang=de", '"total"'],
    ["header.lang=d", "No message is like that."],
  ]) {
    await page.getByLabel("Filter").fill(filter);
    await press(page, "Show");
    await page.locator(".messages", { hasText: text }).waitFor();
  }
  found.asked = [...asked];
  await page.getByLabel("Filter").fill("trace: ab");

  await press(page, "Follow");
  await page.locator(".badge", { hasText: "live" }).waitFor();
  await page.getByLabel("Filter").fill("");
  await page.evaluate(
    async ([token]) =>
      fetch("/v1/topics/made.here/messages", {
        method: "POST",
        body: "from elsewhere",
        headers: { Authorization: "Bearer " + token },
      }),
    [given.token],
  );
  await page.locator("details.message", { hasText: "from elsewhere" }).waitFor();
  await press(page, "Stop");

  await press(page, "Settings");
  await page.getByLabel("Keep for").fill("x");
  await press(page, "Save");
  found.badSetting = await page.getByRole("dialog").getByRole("alert").innerText();
  await page.getByLabel("Keep for").fill("3600");
  await press(page, "Save");
  await told(page, "The settings are changed.");
  await press(page, "Delete");
  found.guarded = await page.getByRole("button", { name: "Delete it" }).isDisabled();
  await page.getByLabel("Type made.here to confirm").fill("made.here");
  await press(page, "Delete it");
  await told(page, "is deleted");
  await title(page, "Topics");
  await page.getByLabel("Find").fill("order");
  await page.getByRole("link", { name: "tenant-1.events" }).waitFor({ state: "detached" });
  found.searched = await page.locator("tbody tr").count();

  await follow(page, "Groups");
  await follow(page, "mails");
  await title(page, "mails");
  const oldest = page.locator("section", { hasText: "The oldest message that is not settled" });
  found.stuck = await oldest.locator("p").innerText();
  found.letters = await page.getByRole("region", { name: "Dead letters" }).innerText();
  await press(page, "Redrive");
  await press(page, "Publish again");
  await told(page, "1 letters are published again.");
  await press(page, "Move cursor");
  await page.getByLabel("To", { exact: true }).fill("latest");
  await press(page, "Move it");
  await told(page, "The cursor is moved.");
  await page.getByText("Everything is settled.").waitFor();

  await follow(page, "Hooks");
  found.hooks = await page.getByRole("region", { name: "Hooks and timers" }).innerText();
  found.rejected = await page.getByRole("region", { name: "Rejected messages" }).innerText();
  await follow(page, "Health");
  found.health = await page.getByRole("region", { name: "Problems" }).innerText();

  await follow(page, "Lua");
  const entry = page.getByRole("textbox", { name: "Lua" });
  await entry.fill("print('printed') return 6 * 7");
  await entry.press("Enter");
  await page.locator(".terminal .result", { hasText: "42" }).waitFor();
  await entry.fill("error('no')");
  await entry.press("Enter");
  await page.locator(".terminal .failed").waitFor();
  await entry.fill("cluster.sta");
  await entry.press("Tab");
  await page.waitForFunction(() => document.querySelector("textarea").value === "cluster.status");
  await entry.fill("local x = {");
  await entry.press("Enter");
  await page.waitForFunction(() => document.querySelector("textarea").value.endsWith("{\n"));
  await page.keyboard.type("} return #x");
  await entry.press("Enter");
  await page.locator(".terminal .result", { hasText: /^0$/ }).waitFor();
  found.terminal = await page.locator(".terminal").innerText();
  return found;
}

// ---- the keyboard alone
async function keyboard() {
  const [, page] = await open(),
    found = {};
  const focused = () =>
    page.evaluate(
      () =>
        document.activeElement.innerText ||
        document.activeElement.getAttribute("aria-label") ||
        document.activeElement.labels?.[0]?.innerText ||
        "",
    );
  async function to(name) {
    for (let i = 0; i < 80; i++) {
      await page.keyboard.press("Tab");
      const seen = await page.evaluate(
        () =>
          document.activeElement === document.body ||
          getComputedStyle(document.activeElement).outlineStyle !== "none",
      );
      if (!seen) (found.unseen ??= []).push(await focused());
      if ((await focused()).trim().startsWith(name)) return;
    }
    throw new Error(`Tab does not reach ${name}`);
  }
  await page.getByLabel("Access token").waitFor();
  await page.keyboard.type(given.token);
  await page.keyboard.press("Enter");
  await title(page, "Overview");
  await to("Topics");
  await page.keyboard.press("Enter");
  await title(page, "Topics");
  await to("New topic");
  await page.keyboard.press("Enter");
  await page.keyboard.type("by.keyboard");
  await page.keyboard.press("Enter");
  await title(page, "by.keyboard");
  await to("Publish");
  await page.keyboard.press("Enter");
  await page.keyboard.type("typed");
  await to("Publish");
  await page.keyboard.press("Enter");
  await told(page, "Published at offset 0");
  const message = page.locator("details.message").first();
  await message.waitFor();
  await to("0");
  await page.keyboard.press("Enter");
  found.opened = await message.locator("pre").innerText();
  return found;
}

// ---- a token that may only look
async function reader() {
  const [, page] = await open(),
    found = { buttons: {} };
  await signIn(page, given.reader);
  await title(page, "Overview");
  found.pages = await page.getByRole("navigation").innerText();
  for (const hash of given.pages.filter((p) => p !== "#/lua")) {
    await visit(page, hash);
    await page.waitForTimeout(100);
    found.buttons[hash] = await page.locator("main button:visible").allInnerTexts();
  }
  return found;
}

// ---- two tabs: one stream, one token
async function tabs() {
  const [context, page] = await open();
  await signIn(page, given.token);
  await title(page, "Overview");
  await page.locator(".where .badge").waitFor();
  const streams = () =>
    page.evaluate(
      async ([token]) => {
        const text = await (await fetch("/metrics", { headers: { Authorization: "Bearer " + token } })).text();
        return Number(/^lignum_http_requests_in_flight (\d+)/m.exec(text)[1]);
      },
      [given.token],
    );
  const before = await streams();
  const second = await tab(context);
  await title(second, "Overview");
  await second.locator(".where .badge").waitFor();
  await second.waitForTimeout(500);
  return { before, after: await streams() };
}

// ---- many topics, a long topic: how long a person waits
async function large() {
  const [, page] = await open(),
    found = {};
  await signIn(page, given.token);
  await title(page, "Overview");
  const timed = async (name, act) => {
    const began = Date.now();
    await act();
    found[name] = Date.now() - began;
  };
  await timed("topics", async () => {
    await visit(page, "#/topics");
    await page.locator("tbody tr").nth(50).waitFor();
  });
  await timed("find", async () => {
    await page.getByLabel("Find").fill("tenant-9999");
    await page.waitForFunction(() => document.querySelectorAll("tbody tr").length === 1);
  });
  await timed("groups", async () => {
    await visit(page, "#/groups");
    await page.locator("tbody tr").nth(199).waitFor();
  });
  found.rows = await page.locator("tbody tr").count();
  await press(page, "Show more");
  found.more = await page.locator("tbody tr").count();
  found.first = await page.locator("tbody tr").first().innerText();
  await page.getByLabel("Find").fill("long/g1099");
  await page.waitForFunction(() => document.querySelectorAll("tbody tr").length === 1);
  await timed("newest", async () => {
    await visit(page, "#/topics/long");
    await page.locator("details.message").nth(20).waitFor();
  });
  await timed("middle", async () => {
    await page.getByLabel("From").fill(String(given.middle));
    await press(page, "Show");
    await page.locator("details.message", { hasText: given.middle.toLocaleString("en") }).waitFor();
  });
  return found;
}

const scenarios = { tour, jobs, keyboard, reader, tabs, large };
try {
  const found = await scenarios[scenario]();
  console.log(JSON.stringify({ ...found, log }));
} finally {
  await browser.close();
}
