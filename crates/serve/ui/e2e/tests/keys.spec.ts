// Every key, and the mouse.

import { noisyNeighbour } from "../harness/datasets";
import { Random } from "../harness/random";
import { randomRanges } from "../harness/ranges";
import { expect, test } from "../harness/test";
import { isNear, ticksOf } from "../harness/text";
import { TABS, type View } from "../harness/view";

const HAND = { x: 0.6, y: 0.4 };

/** Somewhere in the middle of the tracks, with the mouse on it. */
async function handOn(view: View, part = HAND.x): Promise<{ x: number; y: number; t: number; tick: number }> {
  const layout = await view.layout();
  const row = layout.rows.find((row) => row.height >= 8)!;
  const t = layout.from + part * (layout.to - layout.from);
  const place = await view.place(row, t);
  await view.page.mouse.move(place.x, place.y);
  return { ...place, t, tick: (layout.to - layout.from) / layout.plotWidth };
}

/** A range in the middle of the capture, so that there is room on both sides. */
async function inside(view: View): Promise<void> {
  await handOn(view);
  await view.press("w");
  await view.press("w");
  await view.press("w");
}

async function selection(view: View): Promise<{ from: number; to: number }> {
  const [from, to] = (await view.state()).sel as [number, number];
  return { from, to };
}

const span = ({ from, to }: { from: number; to: number }) => to - from;

test.describe("keys", () => {
  test("W and S zoom about the middle, A and D go left and right", async ({ open }) => {
    const view = await open(noisyNeighbour().dataset);
    const whole = await view.layout();
    await view.press("w");
    const closer = await view.layout();
    expect(span(closer)).toBeLessThan(span(whole));
    expect(Math.abs(closer.from + closer.to - whole.from - whole.to)).toBeLessThan(4);
    await view.press("s");
    expect(span(await view.layout())).toBeGreaterThan(span(closer));

    await inside(view);
    const middle = await view.layout();
    await view.press("d");
    const right = await view.layout();
    expect(right.from).toBeGreaterThan(middle.from);
    expect(span(right)).toBeCloseTo(span(middle), -1);
    await view.press("a");
    expect((await view.layout()).from).toBeCloseTo(middle.from, -1);
  });

  test("W zooms about the selection where it is in sight", async ({ open }) => {
    const view = await open(noisyNeighbour().dataset, "#sel=1000000000-1100000000");
    for (let i = 0; i < 5; i++) await view.press("w");
    const { from, to } = await view.layout();
    expect(from).toBeLessThan(1_000_000_000);
    expect(to).toBeGreaterThan(1_100_000_000);
  });

  test("nothing can be reached outside the capture", async ({ open, read }) => {
    const { dataset } = noisyNeighbour();
    const view = await open(dataset);
    const { span: length } = await read(dataset).about();
    await handOn(view);
    for (const key of ["s", "s", "w", "a", "a", "a", "d", "d", "d", "d", "s", "s", "s"]) await view.press(key);
    const { from, to } = await view.layout();
    expect(from).toBeGreaterThanOrEqual(0);
    expect(to).toBeLessThanOrEqual(length);
    expect(to).toBeGreaterThan(from);
  });

  test("Ctrl and the wheel zoom about the mouse", async ({ open }) => {
    const view = await open(noisyNeighbour().dataset);
    const hand = await handOn(view, 0.3);
    const before = await view.layout();
    await view.page.keyboard.down("Control");
    await view.page.mouse.wheel(0, -300);
    await view.page.keyboard.up("Control");
    await expect.poll(async () => span(await view.layout())).toBeLessThan(span(before));
    await view.idle();
    const after = await view.layout();
    expect(Math.abs(after.from + 0.3 * span(after) - hand.t)).toBeLessThan(2 * hand.tick);
  });

  for (const [name, button, shift] of [
    ["Shift and drag", "left", true],
    ["the middle button and drag", "middle", false],
  ] as const) {
    test(`${name} moves the range with the hand`, async ({ open }) => {
      const view = await open(noisyNeighbour().dataset);
      await inside(view);
      const before = await view.layout();
      const hand = await handOn(view, 0.5);
      if (shift) await view.page.keyboard.down("Shift");
      await view.page.mouse.down({ button });
      await view.page.mouse.move(hand.x + 60, hand.y, { steps: 4 });
      await view.page.mouse.move(hand.x + 120, hand.y, { steps: 4 });
      await view.page.mouse.up({ button });
      if (shift) await view.page.keyboard.up("Shift");
      await view.idle();
      const after = await view.layout();
      expect(span(after)).toBeCloseTo(span(before), -1);
      expect(Math.abs(before.from - after.from - 120 * hand.tick)).toBeLessThan(2 * hand.tick);
    });
  }

  test("drag selects, Shift-click extends, Z shows the selection, F all, Esc lets go", async ({ open }) => {
    const view = await open(noisyNeighbour().dataset);
    const before = await view.layout();
    const start = await handOn(view, 0.4);
    await view.page.mouse.down();
    await view.page.mouse.move(start.x + 50, start.y, { steps: 5 });
    await view.page.mouse.move(start.x + 100, start.y, { steps: 5 });
    await view.page.mouse.up();
    await view.idle();
    const selected = await selection(view);
    expect(Math.abs(selected.from - start.t)).toBeLessThan(2 * start.tick);
    expect(Math.abs(selected.to - start.t - 100 * start.tick)).toBeLessThan(2 * start.tick);
    expect(span(await view.layout())).toBe(span(before));

    await view.page.keyboard.down("Shift");
    await view.page.mouse.click(start.x + 200, start.y);
    await view.page.keyboard.up("Shift");
    await view.idle();
    const extended = await selection(view);
    expect(extended.from).toBe(selected.from);
    expect(Math.abs(extended.to - start.t - 200 * start.tick)).toBeLessThan(2 * start.tick);

    await view.press("z");
    const shown = await view.layout();
    expect(shown.from).toBeLessThanOrEqual(extended.from);
    expect(shown.to).toBeGreaterThanOrEqual(extended.to);
    expect(span(shown)).toBeLessThan(1.5 * span(extended));

    await view.press("f");
    expect(span(await view.layout())).toBe(span(before));
    await view.press("Escape");
    expect((await view.state()).sel).toBeNull();
  });

  test("full stop and comma go to the next and the previous interval of the row", async ({ open, read }) => {
    const { dataset } = noisyNeighbour();
    const reader = read(dataset);
    const view = await open(dataset);
    const layout = await view.layout();
    const row = layout.rows.find((row) => row.kind === "cpu")!;
    const place = await view.place(row, layout.from + 0.5 * (layout.to - layout.from));
    await view.page.mouse.click(place.x, place.y);
    await view.idle();
    let here = (await view.state()).at as number;
    for (const [key, to] of [
      [".", "next"],
      [".", "next"],
      [",", "previous"],
      [",", "previous"],
      [",", "previous"],
    ] as const) {
      const expected = (await reader.step(row.kind, row.id, here, to))!;
      await view.press(key);
      expect((await view.state()).sel).toEqual([expected.start, expected.end]);
      here = expected.start;
      const { from, to: end } = await view.layout();
      expect(from).toBeLessThan(expected.end);
      expect(end).toBeGreaterThan(expected.start);
    }
  });

  test("a double click selects the state under the pointer; the pointer alone tells of it", async ({ open, read }) => {
    const { dataset } = noisyNeighbour();
    const reader = read(dataset);
    const random = new Random(3);
    const view = await open(dataset);
    for (const { from, to } of (await randomRanges(reader, random, 8)).slice(2)) {
      await view.link({ from, to });
      const row = random.pick((await view.layout()).rows.filter((row) => row.kind === "cpu" || row.kind === "vcpu"));
      const { x, y } = await view.place(row, from + random.next() * (to - from));
      await view.page.mouse.move(Math.round(x), y);
      const layout = await view.layout();
      const box = (await view.canvas().boundingBox())!;
      const t = layout.from + ((Math.round(x) - box.x - layout.plotLeft) / layout.plotWidth) * (layout.to - layout.from);
      const [interval] = (await reader.at([[row.kind, row.id, Math.round(t)]]))[0]!;
      if (!interval) continue;
      const tip = view.page.getByRole("tooltip");
      await expect(tip).toContainText(interval.state.replace("_", " "));
      await expect(tip).toContainText(`known${interval.evidence}`);
      const head = await tip.locator(".tiphead").innerText();
      expect(isNear(ticksOf(head, (await reader.about()).tsc_hz), interval.end - interval.start), head).toBe(true);
      await view.page.mouse.dblclick(Math.round(x), y);
      await view.idle();
      expect((await view.state()).sel).toEqual([interval.start, interval.end]);
    }
  });

  test("/ finds a process by its CR3 and leads to its row", async ({ open, read }) => {
    const { dataset } = noisyNeighbour();
    const process = (await read(dataset).processes()).find((process) => process.vm_id === 1 && process.cr3 === "0x5402000")!;
    const view = await open(dataset);
    await view.press("/");
    const find = view.page.getByRole("dialog", { name: "Find" });
    await expect(find.getByRole("combobox")).toBeFocused();
    await view.page.keyboard.type("5402000");
    await expect(find.getByRole("option")).toHaveCount(2);
    await find.getByRole("combobox").press("ArrowDown");
    await view.press("ArrowUp");
    await find.getByRole("option").filter({ hasText: "vm 1" }).click();
    await view.idle();
    await expect(find).toBeHidden();
    expect((await view.state()).row).toBe(`process.${process.process_id}`);
    expect((await view.layout()).rows.some((row) => row.kind === "process" && row.id === process.process_id)).toBe(true);
  });

  test("Esc closes what / opens; nothing changes", async ({ open }) => {
    const view = await open(noisyNeighbour().dataset);
    const before = await view.state();
    await view.press("/");
    await view.page.keyboard.type("wsad1?.,");
    await view.press("Escape");
    await expect(view.page.getByRole("dialog")).toHaveCount(0);
    expect(await view.state()).toEqual(before);
  });

  test("? lists the keys, Esc closes it", async ({ open }) => {
    const view = await open(noisyNeighbour().dataset);
    await view.press("?");
    const help = view.page.getByRole("dialog", { name: /keys/i });
    await expect(help).toBeVisible();
    for (const key of ["W", "S", "A", "D", "F", "Z", ".", ",", "/", "?", "Esc", "P", "N", "V"]) await expect(help.locator("kbd").filter({ hasText: key }).first()).toBeVisible();
    await view.press("Escape");
    await expect(help).toBeHidden();
  });

  test("the filter leaves the rows that have its words, and Esc empties it", async ({ open }) => {
    const view = await open(noisyNeighbour().dataset);
    const before = await view.layout();
    const filter = view.page.getByRole("searchbox", { name: "Filter rows" });
    await filter.fill("vm 1");
    await view.idle();
    const { rows } = await view.layout();
    expect(rows.length).toBeLessThan(before.rows.length);
    expect(rows).toContainEqual(expect.objectContaining({ kind: "vm", id: 1 }));
    expect(rows).not.toContainEqual(expect.objectContaining({ kind: "vm", id: 0 }));
    await filter.fill("wsad1?");
    await view.idle();
    expect(await view.layout()).toMatchObject({ from: before.from, to: before.to, view: before.view });
    await filter.press("Escape");
    await view.idle();
    expect((await view.layout()).rows).toHaveLength(before.rows.length);
  });

  test("1 to 5 change the tab, and the range stays", async ({ open }) => {
    const view = await open(noisyNeighbour().dataset);
    await inside(view);
    const { from, to } = await view.layout();
    for (const [i, name] of TABS.entries()) {
      await view.press(String(i + 1));
      await expect(view.tab(name)).toHaveAttribute("aria-selected", "true");
    }
    await view.press("1");
    expect(await view.layout()).toMatchObject({ from, to });
  });

  test("P pins a row to the top, and lets it go", async ({ open }) => {
    const view = await open(noisyNeighbour().dataset);
    const { rows } = await view.layout();
    const last = rows.findLast((row) => row.kind === "vcpu")!;
    const place = await view.place(last, (await view.layout()).to / 2);
    await view.page.mouse.click(place.x, place.y);
    await view.idle();
    await view.press("p");
    expect((await view.layout()).rows[0]).toMatchObject({ kind: last.kind, id: last.id });
    await view.press("p");
    expect((await view.layout()).rows.map(({ kind, id }) => [kind, id])).toEqual(rows.map(({ kind, id }) => [kind, id]));
  });
});
