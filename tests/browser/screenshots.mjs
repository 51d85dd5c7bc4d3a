// Takes pictures of each page of the console, at 360 and 1920 pixels, in light and dark.
//     node screenshots.mjs CHROMIUM URL FOLDER TOKEN PAGES      PAGES: JSON, {name: hash}
import { chromium } from "playwright-core";

const [program, url, folder, token, text] = process.argv.slice(2);
const browser = await chromium.launch({
  executablePath: program,
  args: ["--no-sandbox", "--disable-gpu", "--no-proxy-server"],
});

for (const [width, height] of [
  [1920, 1080],
  [360, 780],
]) {
  for (const colorScheme of ["light", "dark"]) {
    const context = await browser.newContext({ viewport: { width, height }, colorScheme });
    const page = await context.newPage();
    await page.goto(url + "/console");
    if (token) {
      await page.getByLabel("Access token").fill(token);
      await page.getByRole("button", { name: "Sign in" }).click();
    }
    await page.getByRole("heading", { level: 1 }).waitFor();
    if (process.env.WARM) await page.waitForTimeout(Number(process.env.WARM));
    for (const [name, hash] of Object.entries(JSON.parse(text))) {
      await page.evaluate((to) => {
        location.hash = to;
      }, hash);
      await page.waitForTimeout(400);
      await page.locator("main:not([aria-busy])").waitFor();
      const first = page.locator("main details.message").first();
      if (name === "message") await first.locator("summary").click();
      await page.waitForTimeout(200);
      await page.screenshot({ path: `${folder}/${name}-${width}-${colorScheme}.png`, fullPage: width < 500 });
    }
    await context.close();
  }
}
await browser.close();
