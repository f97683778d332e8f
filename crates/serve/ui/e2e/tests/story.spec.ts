// What the page is for: "the machine is busy, and one VM is slow". Three clicks lead to the guest process that makes it so; which
// one that is, the truth of the simulation says, not the program under test.

import { noisyNeighbour } from "../harness/datasets";
import { expect, test } from "../harness/test";

/** The guest process that used most cpu, by its CR3, and its VM's share of all cpu time. */
async function guilty(read: (dataset: string) => import("../harness/reader").Reader, truth: string): Promise<string> {
  const reader = read(truth);
  const processes = (await reader.tracks()).filter((track) => track.kind === "process");
  const most = processes.reduce((a, b) => ((a.states.guest ?? 0) > (b.states.guest ?? 0) ? a : b));
  return (await reader.processes()).find((process) => process.process_id === most.id)!.cr3;
}

test("three clicks from a busy machine to the guilty guest process", async ({ open, read }) => {
  const { dataset, truth } = noisyNeighbour();
  const cr3 = await guilty(read, truth);
  const view = await open(dataset);
  const { page } = view;
  const who = page.getByRole("region", { name: /who had the cpus/i });

  // The answer stands before any click: which VM had most of the cpus.
  await expect(who.getByRole("button").first()).toContainText(/vm \d+\s+\d/);

  // 1: that VM. Its guest processes, the busiest on top.
  await who.getByRole("button").first().click();
  await view.idle();
  await expect(view.tab("Processes")).toHaveAttribute("aria-selected", "true");
  const rows = page.getByRole("row").filter({ has: page.getByRole("gridcell") });
  const process = rows.and(page.getByLabel(/process 0x/)).first();
  await expect(process).toContainText(cr3);

  // 2: the process on top. How much of its VM's time it made, and who waited for it.
  await process.getByRole("rowheader").click();
  await view.idle();
  const pane = page.getByRole("region", { name: /^Sums of/ });
  await expect(pane).toContainText(`process ${cr3}`);
  await expect(pane).toContainText(/This process made (8|9)\d\.\d % of/);
  await expect(pane).toContainText(/kept waiting/);

  // 3: when. The place in time where it took the cpu from the other VM.
  await pane.getByRole("button", { name: /^Where .* took time from/ }).first().click();
  await view.idle();
  await expect(view.tab("Who took whose time")).toHaveAttribute("aria-selected", "true");
  await expect(page.getByRole("heading", { name: /^When vm \d+ took time from vm \d+/ })).toBeVisible();
  expect(await page.locator("main .stolen tbody tr").count()).toBeGreaterThan(10);
});

test("the same by hand: the victim's row shows the taker's hue", async ({ open, read }) => {
  const { dataset } = noisyNeighbour();
  const reader = read(dataset);
  const view = await open(dataset, "#labels=0");
  const [[victim, , taker]] = (await reader.matrix(0, (await reader.about()).span)).filter(([v, kind, id]) => kind === "vm" && v !== id).sort((a, b) => b[3] - a[3]) as [[number, string, number, number]];
  const row = (await view.layout()).rows.find((row) => row.kind === "vm" && row.id === victim)!;
  const [hue] = await view.colours([{ kind: "vm", id: victim, state: "preempted", evidence: "inferred", by_kind: "vm", by_id: taker }]);
  const { plotWidth, dpr } = await view.layout();
  const y = Math.round((row.top + row.drawn / 2) * dpr);
  const line = await view.pixels(view.canvas(), Array.from({ length: Math.floor(plotWidth * dpr) }, (_, x) => [x, y]));
  // In the second half the runaway has the cpu: its hue stands in most of the victim's row.
  const late = line.slice(line.length / 2);
  expect(late.filter((colour) => hue!.includes(colour)).length).toBeGreaterThan(0.4 * late.length);
});

test("a second way: the list of who took whose time on the first page", async ({ open }) => {
  const view = await open(noisyNeighbour().dataset);
  const pane = view.page.getByRole("region", { name: /^Sums of/ });
  const first = pane.getByRole("listitem").filter({ hasText: /took .* from/ }).first();
  await expect(first).toContainText(/vm 1 took 1\.5\d s from vm 0/);
  await first.getByRole("button", { name: "Where vm 1 took time from vm 0" }).click();
  await view.idle();
  await view.page.getByRole("button", { name: /Show its place in time/ }).first().click();
  await view.idle();
  await expect(view.tab("Resources")).toHaveAttribute("aria-selected", "true");
  expect((await view.state()).row).toBe("vcpu.0");
  const [from, to] = (await view.state()).sel as [number, number];
  const layout = await view.layout();
  expect(layout.from).toBeLessThanOrEqual(from);
  expect(layout.to).toBeGreaterThanOrEqual(to);
});
