// The page of a fleet: its nodes, a node's own view, and where a VM was.

import { execFileSync } from "node:child_process";
import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, rmSync, utimesSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { havana } from "../harness/datasets";
import { expect, test } from "../harness/test";

let folder: string;
let root: string;

test.beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "havana-fleet-"));
  root = join(folder, "root");
  const run = (...args: string[]) => execFileSync(havana(), args, { cwd: folder, stdio: ["ignore", "pipe", "pipe"] }).toString();
  const noon = 1_795_176_000;
  for (const [scenario, wall] of [["noisy-neighbour", noon], ["quiet", noon + 3600]] as const)
    run("simulate", scenario, "--seconds", "2", "--form", "perf", "--no-truth", "--wall", String(wall), "-o", scenario);
  // The quiet one is seen on two nodes at once: the same VMs, by their clocks.
  for (const [node, scenario] of [["kvm-1", "noisy-neighbour"], ["kvm/2", "quiet"], ["kvm-3", "quiet"]]) {
    run("analyze", "-q", "--node", node, "-o", `${node.replace("/", "-")}.havana`, `${scenario}/perf.data`);
    run("push", `${node.replace("/", "-")}.havana`, root);
  }
});

test.afterAll(() => rmSync(folder, { recursive: true, force: true }));

test("nodes come by their trouble, and are found by name", async ({ serve, page }) => {
  const { url } = await serve(root);
  await page.goto(url);
  const rows = page.locator("tbody tr");
  await expect(rows).toHaveCount(3);
  await expect(rows.first()).toContainText("kvm-1");
  await expect(rows.first()).toContainText("waited between");
  await expect(page.locator("header")).toContainText("3 nodes");
  await page.getByRole("button", { name: "Node", exact: true }).click();
  await expect(rows.nth(2)).toContainText("kvm/2");
  await page.getByRole("searchbox").fill("kvm-3");
  await expect(rows).toHaveCount(1);
  await page.getByRole("searchbox").fill("nobody");
  await expect(page.getByText("No node is called that.")).toBeVisible();
});

test("a node leads to its own view", async ({ serve, openAt, page }) => {
  const { url } = await serve(root);
  await page.goto(url);
  await page.getByRole("link", { name: "kvm/2" }).click();
  await expect(page).toHaveURL(/captures\/2026-11-20-13\/kvm%2F2\/[0-9a-f]+\/$/);
  await expect(page.locator("header strong")).toHaveText("kvm/2");
  const view = openAt(page.url(), page);
  await view.goto();
  expect((await view.layout()).rows.length).toBeGreaterThan(0);
});

test("a VM is followed from node to node by its clock", async ({ serve, page }) => {
  const { url } = await serve(root);
  await page.goto(url);
  const vms = page.locator("tr", { hasText: "kvm-3" }).locator(".vms button");
  await vms.first().click();
  const where = page.getByRole("region", { name: "Where a VM was" });
  await expect(where.locator("li")).toHaveCount(2);
  await expect(where).toContainText("kvm/2");
  await expect(where).toContainText("from 2026-11-20 13:00:00");
  await where.getByRole("button", { name: "Close" }).click();
  await expect(where).toBeHidden();
});

test("a node that stopped is told of", async ({ serve, page, request }) => {
  const { url } = await serve(root);
  const manifests = join(root, "manifests");
  const [old] = readdirSync(join(manifests, "hour=2026-11-20-12", "node=kvm-1"));
  const [first] = readdirSync(join(manifests, "hour=2026-11-20-13", "node=kvm-3"));
  // A capture each hour of a day, of two nodes: the last of one came just now, that of the other has been missing for five hours.
  const now = Date.now() / 1000;
  for (const [node, late] of [["kvm-3", 0], ["kvm-4", 5]] as const)
    for (let hour = 0; hour < 24; hour++) {
      const place = join(manifests, `hour=2026-11-21-${String(hour).padStart(2, "0")}`, `node=${node}`);
      mkdirSync(place, { recursive: true });
      const file = join(place, first!.replace(/^capture=[0-9a-f]+/, `capture=d${hour}`));
      copyFileSync(join(manifests, "hour=2026-11-20-13", "node=kvm-3", first!), file);
      utimesSync(file, now, now - (23 - hour + late) * 3600);
    }
  await page.goto(url);
  await expect(page.locator("header")).toContainText("51 captures");
  await expect(page.locator("header")).toContainText("1 not heard from");
  const rows = page.locator("tbody tr");
  await expect(rows).toHaveCount(4);
  await expect(rows.first()).toContainText("kvm-4");
  const capture = old!.match(/^capture=([0-9a-f]+)/)![1];
  expect((await request.get(`${url}captures/2026-11-20-12/kvm-1/${capture}/`)).status()).toBe(200);
  expect((await request.get(`${url}captures/2026-11-20-12/kvm-3/${capture}/`)).status()).toBe(404);
});

test("what is not there is told", async ({ serve, page, request }) => {
  const { url } = await serve(root);
  const gone = await request.get(`${url}captures/2026-11-20-13/nobody/c0ffee/`);
  expect(gone.status()).toBe(404);
  expect(await gone.text()).toContain("capture c0ffee of node nobody is not there");
  expect((await request.get(`${url}api/vm`)).status()).toBe(400);
  rmSync(join(root, "manifests"), { recursive: true });
  await page.waitForTimeout(5500);
  const empty = await request.get(`${url}api/fleet`);
  expect(((await empty.json()) as { nodes: unknown[] }).nodes).toEqual([]);
});
