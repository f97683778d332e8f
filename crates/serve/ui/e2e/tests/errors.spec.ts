// What a person is told when the ground goes away under the page.

import { readdirSync, rmSync, statSync, truncateSync } from "node:fs";
import { join } from "node:path";
import { copyOf, noisyNeighbour } from "../harness/datasets";
import { expect, test } from "../harness/test";
import type { View } from "../harness/view";

/** Asks the server for something that it was not yet asked for. */
async function lookElsewhere(view: View): Promise<void> {
  const { from, to } = await view.layout();
  const box = (await view.canvas().boundingBox())!;
  await view.page.mouse.move(box.x + box.width / 2, box.y + 30);
  for (let i = 0; i < 6; i++) await view.page.keyboard.press("w");
  await expect.poll(async () => (await view.layout()).to - (await view.layout()).from).toBeLessThan((to - from) / 2);
}

test("the dataset is deleted under the server", async ({ open, mayComplain }) => {
  mayComplain();
  const dataset = copyOf(noisyNeighbour().dataset, "deleted.havana");
  const view = await open(dataset);
  rmSync(dataset, { recursive: true });
  await lookElsewhere(view);
  const alert = view.page.getByRole("alert");
  await expect(alert).toBeVisible();
  await expect(alert).toContainText(/delet|replaced|gone|no longer/i);
});

test("a Parquet file is damaged", async ({ serve, openAt, page, mayComplain }) => {
  mayComplain();
  const dataset = copyOf(noisyNeighbour().dataset, "damaged.havana");
  const folder = join(dataset, "exits");
  const file = readdirSync(folder, { recursive: true }).map(String).find((name) => name.endsWith(".parquet"))!;
  const path = join(folder, file);
  const server = await serve(dataset);
  // The footer still reads; the pages before it do not.
  const size = statSync(path).size;
  const bytes = Buffer.alloc(Math.floor(size / 2), 0xa5);
  const { openSync, writeSync, closeSync } = await import("node:fs");
  const handle = openSync(path, "r+");
  writeSync(handle, bytes, 0, bytes.length, 4);
  closeSync(handle);
  const view = openAt(server.url, page);
  await view.goto();
  await view.tab("Exits").click();
  const alert = page.getByRole("alert");
  await expect(alert).toBeVisible();
  await expect(alert).toContainText(".parquet");
});

test("a Parquet file is cut short before the server starts", async ({ mayComplain }) => {
  mayComplain();
  const dataset = copyOf(noisyNeighbour().dataset, "short.havana");
  const folder = join(dataset, "cpu_states");
  const file = readdirSync(folder, { recursive: true }).map(String).find((name) => name.endsWith(".parquet"))!;
  truncateSync(join(folder, file), 100);
  const { spawnSync } = await import("node:child_process");
  const { havana } = await import("../harness/datasets");
  const run = spawnSync(havana(), ["view", dataset, "--no-open", "--port", "0"], { timeout: 20_000, encoding: "utf8" });
  expect(run.status).toBe(1);
  expect(run.stderr).toContain(file);
});

test("there is no dataset", async ({}) => {
  const { spawnSync } = await import("node:child_process");
  const { havana } = await import("../harness/datasets");
  const folder = copyOf(noisyNeighbour().dataset, "none.havana");
  rmSync(join(folder, "manifest.json"));
  const run = spawnSync(havana(), ["view", folder, "--no-open", "--port", "0"], { timeout: 20_000, encoding: "utf8" });
  expect(run.status).toBe(1);
  expect(run.stderr.trim().split("\n")).toHaveLength(1);
});

test("the server is gone", async ({ serve, openAt, page, mayComplain }) => {
  mayComplain();
  const server = await serve(noisyNeighbour().dataset);
  const view = openAt(server.url, page);
  await view.goto();
  await server.stop();
  await lookElsewhere(view);
  const alert = page.getByRole("alert");
  await expect(alert).toBeVisible();
  await expect(alert).toContainText(/server|havana view/i);
});

test("a deep link of nonsense still opens the page", async ({ open }) => {
  const view = await open(noisyNeighbour().dataset, "#tab=nothing&range=5-1&sel=x&theme=pink&row=vm.99&at=99999999999999&pins=cpu.77,x&vm=88&finding=9");
  const { from, to } = await view.layout();
  expect(to).toBeGreaterThan(from);
  await expect(view.page.getByRole("tab", { selected: true })).toHaveCount(1);
});
