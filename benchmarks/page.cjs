// Drives Chromium for page.py: node page.cjs MODULES CHROMIUM URL LOADS TEXTS.json SHOTS → JSON on stdout.
const { createRequire } = require("module");
const { mkdtempSync, readFileSync, readdirSync, rmSync } = require("fs");
const { tmpdir } = require("os");
const path = require("path");

const [modules, executablePath, url, loads, texts, shots] = process.argv.slice(2);
const { chromium } = createRequire(path.join(modules, "x.js"))("playwright-core");

// Notes when the first label stands on the page, in ms from the start of the navigation, and what came before.
function watch() {
  const times = { stages: {} };
  globalThis.firstLabel = new Promise((done) => {
    const look = () => {
      const stage = document.getElementById("stage")?.textContent.split(":")[0];
      if (stage && !(stage in times.stages)) times.stages[stage] = performance.now();
      if (!document.getElementById("problem")?.hidden && document.getElementById("problem")) done({ problem: document.getElementById("problem").textContent });
      if (!document.getElementById("said")?.textContent) return;
      observer.disconnect();
      const files = performance.getEntriesByType("resource").map((one) => [
        one.name.split("/").pop(), Math.round(one.startTime), Math.round(one.responseEnd),
      ]);
      done({ first: performance.now(), ...times, files, said: document.getElementById("said").textContent });
    };
    const observer = new MutationObserver(look);
    observer.observe(document, { subtree: true, childList: true, characterData: true, attributes: true });
  });
}

const HERTZ = 100; // of the times in /proc, on every Linux that browsers run on

// Seconds of the CPU that the browser with this profile has used, all its processes together (Linux).
function used(profile) {
  const all = readdirSync("/proc").filter((name) => /^\d+$/.test(name)).flatMap((pid) => {
    try {
      const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ").pop().split(" ");
      const own = readFileSync(`/proc/${pid}/cmdline`, "utf8").includes(profile);
      return [{ pid, parent: fields[1], own, ticks: Number(fields[11]) + Number(fields[12]) }];
    } catch {
      return []; // it has just ended
    }
  });
  const ours = new Set(all.filter((one) => one.own).map((one) => one.pid));
  for (let size = -1; size !== ours.size;) {
    size = ours.size;
    for (const one of all) if (ours.has(one.parent)) ours.add(one.pid);
  }
  return all.filter((one) => ours.has(one.pid)).reduce((sum, one) => sum + one.ticks, 0) / HERTZ;
}

async function withProfile(use) {
  const profile = mkdtempSync(path.join(tmpdir(), "page-"));
  const context = await chromium.launchPersistentContext(profile, {
    executablePath, args: ["--no-sandbox"], viewport: { width: 1280, height: 800 },
  });
  try {
    await context.addInitScript(watch);
    return await use(context.pages()[0], () => used(profile));
  } finally {
    await context.close();
    rmSync(profile, { recursive: true, force: true });
  }
}

async function visit(page) {
  await page.goto(url, { waitUntil: "commit" });
  const seen = await page.evaluate(() => globalThis.firstLabel);
  if (seen.problem) throw new Error(seen.problem);
  return seen;
}

const reached = (page, path) => page.request.get(new URL(path, url).href).then((answer) => answer.text(), () => "gone");

async function main() {
  const cold = [];
  for (let load = 0; load < Number(loads); load += 1) {
    cold.push(await withProfile(async (page, cpu) => {
      const [before, begin] = [Number(await reached(page, "/sent")), cpu()];
      const seen = { ...(await visit(page)), cpu: cpu() - begin };
      // the worker may still be storing what it passed on; nothing of it is sent again
      await page.waitForFunction(() => !document.getElementById("kept").hidden);
      return { ...seen, bytes: Number(await reached(page, "/sent")) - before };
    }));
  }
  const last = await withProfile(async (page) => {
    await visit(page);
    await page.waitForFunction(() => !document.getElementById("kept").hidden);
    const answers = await page.evaluate(async (all) => {
      const found = [];
      for (const text of all) found.push(await globalThis.edgecompress.predict(text));
      return found;
    }, JSON.parse(readFileSync(texts, "utf8")));
    for (const [name, width, height] of [["narrow", 360, 740], ["wide", 1280, 800]]) {
      await page.setViewportSize({ width, height });
      if (shots) await page.screenshot({ path: path.join(shots, `${name}.png`), fullPage: true });
    }
    await reached(page, "/stop");
    await page.waitForTimeout(500);
    const gone = await reached(page, "/sent");
    const again = await visit(page);
    return { answers, gone: gone === "gone", again, version: await page.evaluate(() => navigator.userAgent) };
  });
  console.log(JSON.stringify({ cold, ...last }));
}

main().catch((error) => { console.error(error); process.exit(1); });
