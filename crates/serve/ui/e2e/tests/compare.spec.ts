// What changed, as `havana diff --view` shows it: of two nodes, and of one before and after a process ran away. What there is to
// tell, the command says as JSON; how much it was, a reader of its own; who is guilty, the simulation's truth.

import { type Compared, diff, named, noisyNeighbour } from "../harness/datasets";
import type { Reader } from "../harness/reader";
import { expect, test } from "../harness/test";
import type { View } from "../harness/view";

type Change = Compared["changes"][number];

const panel = (view: View) => view.page.getByRole("tabpanel");
const rows = (view: View) => view.page.locator(".changes tbody tr:not(.part)");
const two = () => [named("quiet", 11), named("noisy-neighbour", 23)];
const before = () => [noisyNeighbour().dataset, "--a-to", "2", "--b-from", "2"];
const told = (all: Change[]) => all.filter((change) => change.told);

/** What part of a cpu a process had. */
async function used(reader: Reader, process: number): Promise<number> {
  const { span } = await reader.about();
  const mine = (await reader.sums(0, span)).filter(([kind, id, state]) => kind === "process" && id === process && ["guest", "hypervisor"].includes(state));
  return mine.reduce((sum, [, , , , , , ticks]) => sum + ticks, 0) / span;
}

async function guilty(truth: Reader): Promise<string> {
  const processes = (await truth.tracks()).filter((track) => track.kind === "process");
  const most = processes.reduce((a, b) => ((a.states.guest ?? 0) > (b.states.guest ?? 0) ? a : b));
  return (await truth.processes()).find((process) => process.process_id === most.id)!.cr3;
}

test("two nodes: the sides on top, every change in its order, with the reader's shares", async ({ openDiff, read }) => {
  const [a, b] = two();
  const { changes, compared } = diff([a!, b!]);
  const view = await openDiff([a!, b!]);
  // The command opens the page there.
  await expect(view.tab("Compare")).toHaveAttribute("aria-selected", "true");
  const sides = panel(view).locator(".sides tbody tr");
  await expect(sides).toHaveCount(2);
  await expect(sides.nth(0)).toContainText(/A\s*quiet-11\.havana.*all of it.*2\.00 s/);
  await expect(sides.nth(1)).toContainText(/B\s*noisy-neighbour-23\.havana.*all of it.*4\.00 s/);
  await expect(panel(view)).toContainText(`${told(changes).length} of ${compared} quantities changed`);

  await expect(rows(view)).toHaveCount(told(changes).length);
  for (const [i, change] of told(changes).entries()) await expect(rows(view).nth(i).getByRole("rowheader")).toContainText(change.who);

  const both = changes.findIndex((change) => change.kind === "process" && change.a_ids.process_ids.length === 1 && change.b_ids.process_ids.length === 1);
  expect(both).toBeGreaterThanOrEqual(0);
  const values = rows(view).nth(both).locator(".value");
  const shares = [await used(read(a!), changes[both]!.a_ids.process_ids[0]!), await used(read(b!), changes[both]!.b_ids.process_ids[0]!)];
  expect(Math.abs(shares[1]! - shares[0]!)).toBeGreaterThan(0.1);
  for (const [side, share] of shares.entries()) {
    const text = (await values.nth(side).textContent())!;
    expect(Math.abs(Number(/([\d.]+) %/.exec(text)![1]) - share * 100), `${text} is ${share}`).toBeLessThan(0.15);
  }
});

test("bars of a unit have one scale, and the interval stands where B may end", async ({ openDiff }) => {
  const [a, b] = two();
  const changes = told(diff([a!, b!]).changes);
  const view = await openDiff([a!, b!]);
  const perPixel: number[] = [];
  for (const [i, change] of changes.entries()) {
    if (change.unit !== "share") continue;
    const [trackA, trackB] = [rows(view).nth(i).locator(".track").nth(0), rows(view).nth(i).locator(".track").nth(1)];
    const { x, width } = (await trackB.boundingBox())!;
    for (const [track, value] of [[trackA, change.a], [trackB, change.b]] as const) {
      const bar = value > 0 ? await track.locator("i").boundingBox() : null;
      if (value * width > 3) perPixel.push(value / bar!.width);
      else expect(bar?.width ?? 0).toBeLessThan(5);
    }
    const beam = (await trackB.locator("u").boundingBox())!;
    const scale = perPixel[0]!;
    expect(Math.abs(beam.x - x - Math.max(0, change.a + change.lo) / scale)).toBeLessThan(2.5);
    expect(Math.abs(beam.x + beam.width - x - Math.max(0, change.a + change.hi) / scale)).toBeLessThan(3.5);
  }
  expect(perPixel.length).toBeGreaterThan(8);
  for (const one of perPixel) expect(Math.abs(one / perPixel[0]! - 1)).toBeLessThan(0.1);
});

test("a row leads to A's row; who is in B only has none", async ({ openDiff }) => {
  const [a, b] = two();
  const changes = told(diff([a!, b!]).changes);
  const view = await openDiff([a!, b!]);
  const at = changes.findIndex((change) => change.kind === "process" && change.a_ids.process_ids.length === 1);
  const only = changes.findIndex((change) => change.a_ids.vm_id === null && change.b_ids.vm_id !== null);
  await expect(rows(view).nth(only).getByRole("button")).toHaveCount(0);
  // Anywhere in the row.
  await rows(view).nth(at).locator(".pair").click();
  await view.idle();
  expect((await view.state()).row).toBe(`process.${changes[at]!.a_ids.process_ids[0]}`);
  await expect(view.tab("Processes")).toHaveAttribute("aria-selected", "true");
  await expect(view.page.getByRole("row", { selected: true })).toBeInViewport({ ratio: 1 });
  await view.page.goBack();
  await view.idle();
  await expect(view.tab("Compare")).toHaveAttribute("aria-selected", "true");
});

test("before and after: the culprit is first, and each side is seen in its own time", async ({ openDiff, read }) => {
  const { truth } = noisyNeighbour();
  const cr3 = await guilty(read(truth));
  const { changes } = diff(before());
  const view = await openDiff(before());
  const first = rows(view).first();
  await expect(first.getByRole("rowheader")).toContainText(cr3);
  await expect(panel(view).locator(".sides tbody tr").nth(1)).toContainText("2.00 s to");
  // Of a process that was not there its VM is shown.
  const key = ({ vm_id, process_ids: [process] }: Change["a_ids"]) => (process === undefined ? `vm.${vm_id}` : `process.${process}`);
  const { span, tsc_hz } = await read(noisyNeighbour().dataset).about();
  const cut = Math.round(2 * tsc_hz!);

  const { a_ids, b_ids } = changes[0]!;
  expect(b_ids.process_ids).toHaveLength(1);
  for (const [side, from, to, ids] of [["B", cut, span, b_ids], ["A", 0, cut, a_ids]] as const) {
    await first.getByRole("button", { name: new RegExp(`^See .* in ${side}’s time`) }).click();
    await view.idle();
    const { sel, row } = await view.state();
    expect(row).toBe(key(ids));
    expect(Math.abs((sel as number[])[0]! - from)).toBeLessThan(tsc_hz! / 1e5);
    expect(Math.abs((sel as number[])[1]! - to)).toBeLessThan(tsc_hz! / 1e5);
    await view.page.reload();
    await view.idle();
    expect((await view.state()).sel).toEqual(sel);
    await view.page.goBack();
    await view.idle();
    await expect(view.tab("Compare")).toHaveAttribute("aria-selected", "true");
  }
});

test("kinds, VMs, and what may be chance: in the address", async ({ openDiff }) => {
  const all = diff(before()).changes;
  const view = await openDiff(before());
  await panel(view).getByRole("button", { name: /^waits/ }).click();
  await view.idle();
  const waits = told(all).filter((change) => ["preempted", "waiting", "off_cpu", "stolen"].includes(change.kind));
  await expect(rows(view)).toHaveCount(waits.length);
  await expect(panel(view).getByRole("button", { name: /^waits/ })).toBeFocused();
  expect(view.page.url()).toContain("kind=waits");

  const whose = panel(view).getByRole("group", { name: "Of whom" });
  const vm = waits[0]!;
  await whose.getByRole("button", { name: vm.who }).click();
  await view.idle();
  await expect(rows(view)).toHaveCount(waits.filter((change) => change.a_ids.vm_id === vm.a_ids.vm_id).length);
  await view.page.reload();
  await view.idle();
  await expect(rows(view)).toHaveCount(waits.filter((change) => change.a_ids.vm_id === vm.a_ids.vm_id).length);

  await view.link({ tab: "compare" });
  await expect(rows(view)).toHaveCount(told(all).length);
  const rest = all.length - told(all).length;
  if (rest) {
    await panel(view).getByRole("button", { name: /^Show all/ }).click();
    await view.idle();
    await expect(rows(view)).toHaveCount(all.length);
    expect(view.page.url()).toContain("all=1");
    await panel(view).getByRole("button", { name: /^Hide/ }).click();
    await view.idle();
    await expect(rows(view)).toHaveCount(told(all).length);
  }
});

test("by keys: to the tab, from change to change, to its row", async ({ openDiff }) => {
  const changes = told(diff(before()).changes);
  const view = await openDiff(before(), "#tab=exits");
  await view.press("6");
  await expect(view.tab("Compare")).toHaveAttribute("aria-selected", "true");
  const way = (n: number) => rows(view).nth(n).locator("button.way");
  await way(0).focus();
  await view.press("ArrowDown");
  await expect(way(1)).toBeFocused();
  await view.press("ArrowUp");
  await expect(way(0)).toBeFocused();
  await view.press("Enter");
  expect((await view.state()).row).toBe(`process.${changes[0]!.b_ids.process_ids[0]}`);
});

test("light and dark: the bars are in the colours of the tracks", async ({ openDiff }) => {
  const changes = told(diff(before()).changes);
  const view = await openDiff(before());
  for (const theme of ["light", "dark"] as const) {
    await view.link({ tab: "compare", theme });
    const vm = changes[0]!.b_ids.vm_id!;
    const [solid] = await view.page.evaluate((vm) => window.havana.colourOf({ kind: "vm", id: vm, state: "guest", evidence: "observed", by_kind: "none", by_id: -1 }), vm);
    const bar = await rows(view).first().locator(".track i").last().evaluate((bar) => getComputedStyle(bar).backgroundColor);
    expect(bar).toBe(`rgb(${[1, 3, 5].map((at) => parseInt(solid!.slice(at, at + 2), 16)).join(", ")})`);
  }
});

test("where nothing is compared there is no such tab", async ({ open }) => {
  const view = await open(noisyNeighbour().dataset, "#tab=compare");
  await expect(view.tab("Resources")).toHaveAttribute("aria-selected", "true");
  await expect(view.tab("Compare")).toHaveCount(0);
  await view.press("6");
  await expect(view.tab("Resources")).toHaveAttribute("aria-selected", "true");
});
