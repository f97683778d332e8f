// What a person is told when the ground goes away under the page.

import { spawnSync } from "node:child_process";
import { closeSync, openSync, readdirSync, rmSync, statSync, truncateSync, writeSync } from "node:fs";
import { join } from "node:path";
import { CAPTURES, analyzed, copyOf, havana, noisyNeighbour, replace } from "../harness/datasets";
import type { Server } from "../harness/server.mjs";
import { expect, test } from "../harness/test";
import type { View } from "../harness/view";

/** Asks the server for something that it was not yet asked for. */
async function lookElsewhere(view: View): Promise<void> {
  const { from, to } = await view.layout();
  for (let i = 0; i < 6; i++) await view.page.keyboard.press("w");
  await expect.poll(async () => (await view.layout()).to - (await view.layout()).from).toBeLessThan((to - from) / 2);
}

/** The one file of a table. */
function fileOf(dataset: string, table: string): string {
  const file = readdirSync(join(dataset, table), { recursive: true }).map(String).find((name) => name.endsWith(".parquet"))!;
  return join(dataset, table, file);
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
  await expect(alert.getByRole("button", { name: "Retry" })).toBeVisible();
  // What was drawn stays.
  expect((await view.layout()).rows.length).toBeGreaterThan(0);
  await view.page.keyboard.press("Escape");
  await expect(alert).toBeHidden();
});

test("the dataset is replaced under the server", async ({ open, mayComplain }) => {
  mayComplain();
  const dataset = copyOf(noisyNeighbour().dataset, "replaced.havana");
  const view = await open(dataset);
  replace(dataset, analyzed(CAPTURES[0]!));
  await lookElsewhere(view);
  await expect(view.page.getByRole("alert")).toContainText(/delet|replaced|gone|no longer|changed/i);
});

const damages = {
  "cut short": (path: string) => truncateSync(path, 100),
  // The footer still reads; the pages before it do not.
  "with overwritten pages": (path: string) => {
    const bytes = Buffer.alloc(Math.floor(statSync(path).size / 2), 0xa5);
    const file = openSync(path, "r+");
    writeSync(file, bytes, 0, bytes.length, 4);
    closeSync(file);
  },
};

for (const [how, damage] of Object.entries(damages)) {
  for (const table of ["cpu_states", "exits"]) {
    test(`a Parquet file of ${table} is ${how}`, async ({ serve, openAt, page, mayComplain }) => {
      mayComplain();
      const dataset = copyOf(noisyNeighbour().dataset, "damaged.havana");
      const path = fileOf(dataset, table);
      damage(path);
      let server: Server;
      try {
        server = await serve(dataset);
      } catch (error) {
        // Refused at the start: then in one line, that names the file.
        expect(String(error)).toContain("status 1");
        expect(String(error)).toContain(`${table}`);
        expect(String(error).trim().split("\n")).toHaveLength(1);
        return;
      }
      const view = openAt(server.url, page);
      await page.goto(view.url);
      const exits = view.tab("Exits");
      const alert = page.getByRole("alert").filter({ visible: true });
      await expect(exits.or(alert).first()).toBeVisible();
      if (await exits.isVisible()) await exits.click();
      await expect(alert).toContainText(table);
      await expect(alert).toContainText(".parquet");
    });
  }
}

test("there is no dataset", () => {
  const folder = copyOf(noisyNeighbour().dataset, "none.havana");
  rmSync(join(folder, "manifest.json"));
  const run = spawnSync(havana(), ["view", folder, "--no-open", "--port", "0"], { timeout: 20_000, encoding: "utf8" });
  expect(run.status).toBe(1);
  expect(run.stderr.trim().split("\n")).toHaveLength(1);
  expect(run.stderr).toContain("none.havana");
});

test("the server is gone, and comes back", async ({ serve, openAt, page, mayComplain }) => {
  mayComplain();
  const { dataset } = noisyNeighbour();
  const server = await serve(dataset);
  const view = openAt(server.url, page);
  await view.goto();
  await server.stop();
  await lookElsewhere(view);
  const alert = page.getByRole("alert");
  await expect(alert).toBeVisible();
  await expect(alert).toContainText(/server|havana view/i);
  await serve(dataset, ["--port", new URL(server.url).port]);
  await alert.getByRole("button", { name: "Retry" }).click();
  await view.idle();
  await expect(alert).toBeHidden();
});

test("a deep link of nonsense still opens the page", async ({ open }) => {
  const view = await open(noisyNeighbour().dataset, "#tab=nothing&range=5-1&sel=x&theme=pink&row=vm.99&at=99999999999999&pins=cpu.77,x&vm=88&finding=9");
  const { from, to } = await view.layout();
  expect(to).toBeGreaterThan(from);
  await expect(view.page.getByRole("tab", { selected: true })).toHaveCount(1);
});
