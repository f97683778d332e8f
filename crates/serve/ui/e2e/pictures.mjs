// The pictures of docs/case-study.md, the first one of docs/view.md and that of docs/diff.md, of the real page: `node pictures.mjs [FOLDER]`.
//
// Simulates the nodes that they are of, analyzes them, and looks as a reader of the case study would: by the keys that it names.
// Pictures go to docs/ of the repository, or to FOLDER. HAVANA_BIN as for the tests.

import { chromium } from "@playwright/test";
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { CHROMIUM, CHROMIUM_ARGS } from "./harness/chromium.mjs";
import { Server } from "./harness/server.mjs";

const program = process.env.HAVANA_BIN;
if (!program) throw new Error("HAVANA_BIN must be the path of the `havana` program");
const docs = resolve(fileURLToPath(import.meta.url), "../../../../../docs");
const to = process.argv[2] ?? docs;

/** Of which node, how large, at which link, and what is pressed then; from which part of the page on, up to which. */
const PICTURES = [
  { file: "case-study/first.png", node: "case-study", width: 1060, height: 642, link: "#theme=light&pane=0", press: [] },
  { file: "case-study/finding.png", node: "case-study", width: 1240, height: 730, link: "#theme=light&height=166", press: ["n"], from: ".strip" },
  { file: "case-study/evidence.png", node: "case-study", width: 1200, height: 684, link: "#theme=light&pane=0", press: ["n", "V", "1"], from: ".strip" },
  { file: "images/first-sight.png", node: "noisy-neighbour", width: 1280, height: 800, link: "#theme=light", press: [] },
  { file: "images/compare.png", node: "before-and-after", width: 1120, height: 823, link: "#tab=compare&theme=light&pane=0", press: [], from: ".sheet.compare", to: ".pane" },
];

/** What is simulated for each, in place of a recording. */
const NODES = {
  "case-study": [join(docs, "case-study/node.toml"), "--form", "perf"],
  "noisy-neighbour": ["noisy-neighbour"],
  "before-and-after": ["noisy-neighbour", "--form", "perf"],
};

/** Two stretches of these are compared. */
const TIMES = { "before-and-after": ["--a-to", "2", "--b-from", "2"] };

const folder = mkdtempSync(join(tmpdir(), "havana-pictures-"));
const browser = await chromium.launch({ executablePath: CHROMIUM, args: CHROMIUM_ARGS });
try {
  for (const [node, scenario] of Object.entries(NODES)) {
    const [raw, dataset] = [join(folder, node), join(folder, `${node}.havana`)];
    const trace = scenario.includes("perf") ? join(raw, "perf.data") : raw;
    execFileSync(program, ["simulate", ...scenario, "--no-truth", "-o", raw], { stdio: ["ignore", "ignore", "inherit"] });
    execFileSync(program, ["analyze", trace, "-q", "-o", dataset], { stdio: ["ignore", "ignore", "inherit"] });
    const times = TIMES[node];
    const server = await (times ? Server.run(program, ["diff", dataset, ...times, "--view", "--no-open"]) : Server.start(program, dataset));
    for (const { file, width, height, link, press, from, to: end } of PICTURES.filter((picture) => picture.node === node)) {
      const page = await browser.newPage({ viewport: { width, height } });
      await page.goto(server.url + link);
      await page.waitForFunction(() => window.havana !== undefined);
      await page.evaluate(() => window.havana.idle());
      for (const key of press) {
        await page.keyboard.press(key.length === 1 && key !== key.toLowerCase() ? `Shift+${key}` : key);
        await page.evaluate(() => window.havana.idle());
      }
      const path = join(to, file);
      mkdirSync(dirname(path), { recursive: true });
      const y = from ? (await page.locator(from).boundingBox())?.y ?? 0 : 0;
      const bottom = end ? (await page.locator(end).boundingBox())?.y ?? height : height;
      await page.screenshot({ path, clip: { x: 0, y, width, height: bottom - y } });
      console.log(`${path}: ${(statSync(path).size / 1000).toFixed(0)} kB`);
      await page.close();
    }
    await server.stop();
  }
} finally {
  await browser.close();
  rmSync(folder, { recursive: true, force: true });
}
