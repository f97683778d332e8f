// Every number of the panes and tables, against the independent reader: of whole captures and of random parts of them. What
// is rounded on the page must be the exact number, rounded; what is saved as CSV must be the exact number.

import { CAPTURES, analyzed, noisyNeighbour } from "../harness/datasets";
import { Random } from "../harness/random";
import { type Range, randomRanges } from "../harness/ranges";
import type { Reader, Sum } from "../harness/reader";
import { expect, test } from "../harness/test";
import { csv, isNear, saved, shareOf, ticksOf } from "../harness/text";
import type { View } from "../harness/view";

const RANGES = 4;
const PANE = "section.pane";

const datasets = [...CAPTURES.map((capture) => ({ name: capture.name, dataset: () => analyzed(capture) })), { name: "noisy-neighbour", dataset: () => noisyNeighbour().dataset }];

interface Names {
  hz: number | null;
  vms: { vm_id: number; name: string | null }[];
  vcpus: { vcpu_id: number; vm_id: number }[];
}

/** What the page calls a VM. */
const vmName = (names: Names, id: number) => names.vms.find((vm) => vm.vm_id === id)?.name ?? `vm ${id}`;

function add(into: Map<string, number>, key: string, value: number): void {
  into.set(key, (into.get(key) ?? 0) + value);
}

const sorted = (map: Map<string, number>) => Object.fromEntries([...map].filter(([, value]) => value > 0).sort(([a], [b]) => (a < b ? -1 : 1)));

/** The sums, as CSV: exact. */
async function sumsAsCsv(view: View, names: Names, sums: Sum[]): Promise<void> {
  const shown = new Map<string, number>();
  const begins = new Map<string, number>();
  for (const row of csv((await saved(view, PANE, /CSV/)).bytes.toString("utf8"))) {
    const by = /^(the host|host \()/.test(row.taken_by!) ? "host" : row.taken_by;
    add(shown, `${row.kind} ${row.id} ${row.state} ${row.evidence} ${by}`, Number(row.ticks));
    add(begins, `${row.kind} ${row.id} ${row.state}`, Number(row.begins));
  }
  const expected = new Map<string, number>();
  const count = new Map<string, number>();
  for (const [kind, id, state, evidence, byKind, byId, ticks, n] of sums) {
    const by = byKind === "vm" ? vmName(names, byId) : byKind === "host" ? "host" : "";
    add(expected, `${kind} ${id} ${state} ${evidence} ${by}`, ticks);
    add(count, `${kind} ${id} ${state}`, n);
  }
  expect(sorted(shown)).toEqual(sorted(expected));
  expect(sorted(begins)).toEqual(sorted(count));
}

/** The pane of one row: the time of each of its states. */
async function paneOf(view: View, names: Names, sums: Sum[], kind: string, id: number): Promise<void> {
  const exact = new Map<string, number>();
  for (const [k, i, state, , , , ticks] of sums) if (k === kind && i === id) add(exact, state.replace("_", " "), ticks);
  const total = [...exact.values()].reduce((a, b) => a + b, 0);
  const rows = await view.page.locator(`${PANE} table.sums tr`).evaluateAll((rows) => rows.map((row) => [...row.children].map((cell) => (cell as HTMLElement).innerText.trim())));
  expect(rows.map(([state]) => state).sort(), `states of ${kind} ${id}`).toEqual(Object.keys(sorted(exact)).sort());
  for (const [state, share, time] of rows) {
    const ticks = exact.get(state!)!;
    expect(isNear(shareOf(share!), ticks / total), `${kind} ${id}: ${state} ${share} is ${ticks / total}`).toBe(true);
    expect(isNear(ticksOf(time!, names.hz), ticks), `${kind} ${id}: ${state} ${time} is ${ticks} ticks`).toBe(true);
  }
}

/** Who took whose time: every cell, and the list behind the biggest. */
async function matrix(view: View, reader: Reader, names: Names, range: Range): Promise<void> {
  const expected = await reader.matrix(range.from, range.to);
  const cells = await view.page.locator("table.matrix button.cell").evaluateAll((cells) => cells.map((cell) => cell.getAttribute("aria-label")!));
  const shown = new Map(cells.map((cell) => [/^.* from .*?, /.exec(cell)![0].replace(/ took [^ ]+ [^ ]+ from /, " from "), cell]));
  const known = expected.filter(([, byKind]) => byKind !== "none");
  expect(shown.size).toBe(known.length);
  for (const [victim, byKind, byId, ticks] of known) {
    const cell = shown.get(`${byKind === "vm" ? vmName(names, byId) : "the host"} from ${vmName(names, victim)}, `);
    expect(cell, `${victim} by ${byKind} ${byId}`).toBeDefined();
    expect(isNear(ticksOf(cell!, names.hz), ticks), `${cell} is ${ticks} ticks`).toBe(true);
  }
  const most = known.sort((a, b) => b[3] - a[3])[0];
  if (!most) return;
  const [victim, byKind, byId] = most;
  await view.link({ tab: "stolen", ...range, cell: `${victim},${byKind === "vm" ? `vm.${byId}` : "host"}` });
  const list = csv((await saved(view, "main .stolen", /CSV/)).bytes.toString("utf8"));
  const stretches = await reader.stolen(victim, byKind, byId, range.from, range.to, 100);
  // Equally long ones may come in any order; what is cut off at the end may be any of them.
  const lengths = (rows: number[]) => rows.sort((a, b) => b - a);
  expect(lengths(list.map((row) => Number(row.end_ticks) - Number(row.start_ticks)))).toEqual(lengths(stretches.map(([, start, end]) => end - start)));
}

/** Exits: the curve's counts, reasons, histogram and the slowest. */
async function exits(view: View, reader: Reader, range: Range): Promise<void> {
  const expected = await reader.exits(range.from, range.to, 50);
  const reasons: Record<string, string> = await (await view.page.request.get(`${view.url}api/reasons`)).json();

  const byReason = new Map<string, number>();
  const byClass = new Map<string, number>();
  for (const [, reason, latencyClass, count] of expected.histogram) {
    add(byReason, reason < 0 ? "not known" : (reasons[reason] ?? `reason ${reason}`), count);
    add(byClass, String(latencyClass), count);
  }
  const table = await view.page.locator("table.reasons tbody tr").evaluateAll((rows) => rows.map((row) => [...row.children].map((cell) => (cell as HTMLElement).innerText.trim())));
  expect(Object.fromEntries(table.map(([reason, count]) => [reason, Number(count!.replaceAll(",", ""))]))).toEqual(Object.fromEntries(byReason));

  const bars = await view.page.locator("ul.histogram li").evaluateAll((bars) => bars.map((bar) => bar.getAttribute("aria-label")!));
  const classes = [...byClass.keys()].map(Number).filter((c) => c >= 0).sort((a, b) => a - b);
  const counts = classes.length ? Array.from({ length: classes.at(-1)! - classes[0]! + 1 }, (_, i) => byClass.get(String(classes[0]! + i)) ?? 0) : [];
  expect(bars.map((bar) => Number(/: ([\d,]+) exits$/.exec(bar)![1]!.replaceAll(",", "")))).toEqual(counts);

  if (expected.slowest.length) {
    const list = csv((await saved(view, "main .slowest", /CSV/)).bytes.toString("utf8"));
    const latencies = (rows: { exit: number; reentry: number }[]) => rows.map((row) => row.reentry - row.exit);
    const timed = list.filter((row) => Number(row.reentry_ticks) >= Number(row.exit_ticks));
    expect(latencies(timed.map((row) => ({ exit: Number(row.exit_ticks), reentry: Number(row.reentry_ticks) })))).toEqual(latencies(expected.slowest));
    const shown = await view.page.locator(".slowest tbody tr").count();
    expect(shown).toBe(list.length);
  }

  const asked = view.asked.findLast((url) => url.pathname.endsWith("/api/exits/rate"));
  if (asked && expected.count > 0) {
    const rows = await reader.arrow(await (await view.page.request.get(asked.href)).body());
    const bins = [...new Map(rows.map((row) => [row.start!, [row.start!, row.end!] as [number, number]])).values()].sort((a, b) => a[0] - b[0]);
    const answered = rows.filter((row) => row.count! > 0).map((row) => [row.start, row.end, row.vm, row.count]);
    expect(answered.sort((a, b) => a[0]! - b[0]! || a[2]! - b[2]!)).toEqual(await reader.rate(bins));
  }
}

for (const [number, { name, dataset }] of datasets.entries()) {
  test(`numbers of ${name}`, async ({ open, read }) => {
    const path = dataset();
    const reader = read(path);
    const random = new Random(number);
    const view = await open(path);
    const about = await (await view.page.request.get(`${view.url}api/dataset`)).json();
    const names: Names = { ...about, hz: (await reader.about()).tsc_hz };
    for (const range of await randomRanges(reader, random, RANGES)) {
      const sums = await reader.sums(range.from, range.to);
      await view.link({ ...range });
      await sumsAsCsv(view, names, sums);
      const tracks = [...new Set(sums.filter((sum) => sum[6] > 0).map(([kind, id]) => `${kind}.${id}`))];
      for (let i = 0; i < 3 && tracks.length; i++) {
        const row = random.pick(tracks);
        await view.link({ ...range, row, tab: row.startsWith("process") ? "processes" : "resources" });
        const [kind, id] = row.split(".");
        await paneOf(view, names, sums, kind!, Number(id));
      }
      await view.link({ tab: "exits", ...range });
      await exits(view, reader, range);
      await view.link({ tab: "stolen", ...range });
      await matrix(view, reader, names, range);
    }
  });
}

test("a selection, not what is in sight, is what the numbers are of", async ({ open, read }) => {
  const { dataset } = noisyNeighbour();
  const reader = read(dataset);
  const selection = { from: 1_500_000_000, to: 2_000_000_000 };
  const view = await open(dataset, `#range=1000000000-3000000000&sel=${selection.from}-${selection.to}&row=vcpu.1`);
  const names: Names = { vms: [], vcpus: [], hz: (await reader.about()).tsc_hz };
  await paneOf(view, names, await reader.sums(selection.from, selection.to), "vcpu", 1);
  await view.show("Exits");
  await exits(view, reader, selection);
});

test("the line on top says who had the cpus", async ({ open, read }) => {
  const { dataset } = noisyNeighbour();
  const reader = read(dataset);
  const view = await open(dataset);
  const { span } = await reader.about();
  const [shares] = await reader.shares([["node", 0, 0, span]]);
  for (const [state, , , vm, part] of shares!.filter(([state]) => state === "guest")) {
    const button = view.page.getByRole("button", { name: new RegExp(`^vm ${vm}: ${state}`) });
    expect(isNear(shareOf((await button.getAttribute("aria-label"))!), part)).toBe(true);
  }
});
