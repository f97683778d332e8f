// How long a person waits: `node frame.mjs [DATASET] [RECTANGLES]` opens the page in a browser and prints when its first picture
// stood (from the start of the navigation; a server just started, five times), then lets it draw frames of that many rectangles
// (10,000) and prints milliseconds a frame. Not a test: it measures this machine as well.
//
// HAVANA_BIN as for the tests; without a DATASET the scenario noisy-neighbour is simulated.

import { chromium } from "@playwright/test";
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { CHROMIUM, CHROMIUM_ARGS } from "./harness/chromium.mjs";
import { Server } from "./harness/server.mjs";

const program = process.env.HAVANA_BIN;
if (!program) throw new Error("HAVANA_BIN must be the path of the `havana` program");
const [given, rectangles = "10000"] = process.argv.slice(2);

const folder = mkdtempSync(join(tmpdir(), "havana-frame-"));
try {
  const dataset = given ?? simulated(program);
  const server = await Server.start(program, dataset);
  const browser = await chromium.launch({ executablePath: CHROMIUM, args: CHROMIUM_ARGS });
  try {
    const waits = [];
    for (let n = 0; n < 5; n++) {
      const fresh = await Server.start(program, dataset);
      const page = await browser.newPage({ viewport: { width: 1600, height: 900 } });
      await page.addInitScript(watch);
      await page.goto(fresh.url);
      waits.push(await page.waitForFunction(() => Reflect.get(window, "firstPicture")).then((at) => at.jsonValue()));
      await page.close();
      await fresh.stop();
    }
    console.log(`first picture after ${waits.map((ms) => ms.toFixed(0)).join(", ")} ms`);
    const page = await browser.newPage({ viewport: { width: 1600, height: 900 } });
    await page.goto(server.url);
    await page.waitForFunction(() => window.havana !== undefined);
    await page.evaluate(() => window.havana.idle());
    const { median, p99, frames } = await page.evaluate((n) => window.havana.benchmark(n), Number(rectangles));
    console.log(`${rectangles} rectangles, ${frames.length} frames: median ${median.toFixed(2)} ms, 99 % within ${p99.toFixed(2)} ms a frame`);
  } finally {
    await browser.close();
    await server.stop();
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}

/** In the page: notes when the rows have colours beside the background's. */
function watch() {
  const look = () => {
    const canvas = document.querySelector("#tracks");
    const context = canvas instanceof HTMLCanvasElement ? canvas.getContext("2d") : null;
    if (context && context.canvas.width > 1 && context.canvas.height > 1) {
      const { data } = context.getImageData(context.canvas.width >> 1, 0, 1, context.canvas.height);
      if (new Set(new Uint32Array(data.buffer)).size > 2) return void Object.assign(window, { firstPicture: performance.now() });
    }
    requestAnimationFrame(look);
  };
  requestAnimationFrame(look);
}

/** @param {string} program */
function simulated(program) {
  const [raw, dataset] = [join(folder, "raw"), join(folder, "noisy-neighbour.havana")];
  execFileSync(program, ["simulate", "noisy-neighbour", "-f", "-o", raw], { stdio: ["ignore", "ignore", "inherit"] });
  execFileSync(program, ["analyze", raw, "-q", "-f", "-o", dataset], { stdio: ["ignore", "ignore", "inherit"] });
  return dataset;
}
