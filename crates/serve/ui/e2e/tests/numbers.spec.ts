// Every number of the panes and tables, against the independent reader: whole captures and random parts of them.

import { CAPTURES, analyzed, noisyNeighbour } from "../harness/datasets";
import { Random } from "../harness/random";
import { type Range, randomRanges } from "../harness/ranges";
import type { Reader } from "../harness/reader";
import { expect, test } from "../harness/test";
import type { View } from "../harness/view";

const RANGES = 4;

const datasets = [...CAPTURES.map((capture) => ({ name: capture.name, dataset: () => analyzed(capture) })), { name: "noisy-neighbour", dataset: () => noisyNeighbour().dataset }];

/** The data attributes of all elements that have this one. */
function data(view: View, attribute: string, within = "body"): Promise<Record<string, string>[]> {
  return view.page.locator(`${within} [data-${attribute}]`).evaluateAll((elements) => elements.map((element) => ({ ...(element as HTMLElement).dataset }) as Record<string, string>));
}

function total(into: Map<string, number>, key: string, ticks: number): void {
  into.set(key, (into.get(key) ?? 0) + ticks);
}

async function selection(view: View, reader: Reader, range: Range): Promise<void> {
  const shown = (await data(view, "state", "[data-testid=selection]")).filter((d) => d.ticks !== undefined && d.byKind === undefined);
  const expected = new Map<string, number>();
  for (const [kind, id, state, , , , ticks] of await reader.sums(range.from, range.to)) total(expected, `${kind} ${id} ${state}`, ticks);
  expect(shown.length).toBeGreaterThan(0);
  for (const { kind, id, state, ticks } of shown) {
    if (kind !== "cpu" && kind !== "vcpu" && kind !== "process") continue;
    expect(Math.abs(Number(ticks) - (expected.get(`${kind} ${id} ${state}`) ?? 0)), `${kind} ${id} ${state}`).toBeLessThan(1);
  }
}

async function matrix(view: View, reader: Reader, range: Range): Promise<void> {
  const expected = new Map((await reader.matrix(range.from, range.to)).map(([victim, kind, id, ticks]) => [`${victim} ${kind} ${kind === "vm" ? id : ""}`, ticks]));
  const shown = new Map((await data(view, "victim")).filter((d) => Number(d.ticks) > 0).map((d) => [`${d.victim} ${d.byKind} ${d.byKind === "vm" ? d.byId : ""}`, Number(d.ticks)]));
  expect(Object.fromEntries(shown)).toEqual(Object.fromEntries(expected));
}

async function exits(view: View, reader: Reader, range: Range): Promise<void> {
  const expected = await reader.exits(range.from, range.to, 50);
  const shown = await data(view, "exit-id");
  expect(shown.map((d) => [Number(d.exitId), Number(d.ticks)])).toEqual(expected.slowest.slice(0, shown.length).map((exit) => [exit.exit_id, exit.latency]));
  expect(shown.length).toBe(Math.min(50, expected.slowest.length));

  const classes = new Map<string, number>();
  for (const [, , latencyClass, count] of expected.histogram) if (latencyClass >= 0) total(classes, String(latencyClass), count);
  const bars = new Map<string, number>();
  for (const { class: latencyClass, count } of await data(view, "class")) if (Number(latencyClass) >= 0) total(bars, latencyClass!, Number(count));
  expect(Object.fromEntries([...bars].filter(([, count]) => count > 0))).toEqual(Object.fromEntries(classes));

  const reasons = new Map<string, number>();
  for (const [, reason, , count] of expected.histogram) total(reasons, String(reason), count);
  const rows = new Map((await data(view, "reason")).filter((d) => d.class === undefined).map((d) => [d.reason!, Number(d.count)]));
  expect(Object.fromEntries(rows)).toEqual(Object.fromEntries(reasons));
}

for (const [number, { name, dataset }] of datasets.entries()) {
  test(`numbers of ${name}`, async ({ open, read }) => {
    const path = dataset();
    const reader = read(path);
    const view = await open(path);
    for (const range of await randomRanges(reader, new Random(number), RANGES)) {
      await view.link({ ...range });
      await selection(view, reader, range);
      await view.link({ tab: "exits", ...range });
      await exits(view, reader, range);
      await view.link({ tab: "stolen", ...range });
      await matrix(view, reader, range);
    }
  });
}
