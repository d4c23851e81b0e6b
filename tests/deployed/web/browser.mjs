// Open pages in Chromium and print what a reader would complain about, as one JSON list.
//
//   node browser.mjs CHROMIUM OUT < pages.json       [{"name": …, "url": …}]
//
// Each page is opened at two widths and in both colour schemes: console messages, failed requests, violations that
// axe-core finds, and text that is wider than the screen. OUT gets a screenshot of each, and one as it prints.
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import path from "node:path";

const require = createRequire(path.join(process.cwd(), "node_modules", "x.js"));
const puppeteer = require("puppeteer-core");
const axe = require("axe-core");

const [chromium, out] = process.argv.slice(2);
const wanted = JSON.parse(readFileSync(0, "utf8"));
const browser = await (puppeteer.default ?? puppeteer).launch({
  executablePath: chromium, headless: true, args: ["--no-sandbox", "--disable-gpu", "--hide-scrollbars"],
});
const found = [];

async function opened(name, url, width, scheme) {
  const page = await browser.newPage();
  const messages = [];
  page.on("console", (message) => messages.push(`console: ${message.text()}`));
  page.on("pageerror", (error) => messages.push(`error: ${error.message}`));
  page.on("requestfailed", (request) => messages.push(`failed: ${request.url()}`));
  page.on("request", (request) => { if (!request.url().startsWith(new URL(url).origin)) messages.push(`elsewhere: ${request.url()}`); });
  await page.setViewport({ width, height: 900, isMobile: width < 500, deviceScaleFactor: 1 });
  await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: scheme }]);
  const response = await page.goto(url, { waitUntil: "load" });
  // Chromium reports a status of 400 or more as a message, whatever the page is.
  const own = messages.filter((text) => !(response.status() >= 400 && text.includes(`status of ${response.status()}`)));
  await page.evaluate(axe.source);
  const judged = await page.evaluate(async () => await globalThis.axe.run(document, { resultTypes: ["violations"] }));
  const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  await page.screenshot({ path: `${out}/${name}-${width}-${scheme}.png`, fullPage: true });
  if (width > 500 && scheme === "light") {
    await page.emulateMediaType("print");
    await page.screenshot({ path: `${out}/${name}-print.png`, fullPage: true });
  }
  found.push({
    name, width, scheme, status: response.status(), messages: own, wider_by_px: wide, rules: judged.passes?.length ?? 0,
    violations: judged.violations.map((each) => ({ id: each.id, impact: each.impact, nodes: each.nodes.map((node) => node.html.slice(0, 200)) })),
  });
  await page.close();
}

for (const { name, url } of wanted) {
  for (const width of [390, 1280]) {
    for (const scheme of ["light", "dark"]) {
      await opened(name, url, width, scheme);
    }
  }
}
await browser.close();
console.log(JSON.stringify(found));
