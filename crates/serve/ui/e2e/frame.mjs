// How long a frame takes: `node frame.mjs [DATASET] [RECTANGLES]` opens the page in a browser, lets it draw frames of that many
// rectangles (10,000) while the range moves, and prints milliseconds a frame. Not a test: it measures this machine as well.
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

/** @param {string} program */
function simulated(program) {
  const [raw, dataset] = [join(folder, "raw"), join(folder, "noisy-neighbour.havana")];
  execFileSync(program, ["simulate", "noisy-neighbour", "-f", "-o", raw], { stdio: ["ignore", "ignore", "inherit"] });
  execFileSync(program, ["analyze", raw, "-q", "-f", "-o", dataset], { stdio: ["ignore", "ignore", "inherit"] });
  return dataset;
}
