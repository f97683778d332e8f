// Findings as they are seen: the list, the marks, and where a click leads. What there is to find, the dataset's tables say to a
// reader of its own; who is guilty, and since when, the simulation's truth.

import { noisyNeighbour, scenario } from "../harness/datasets";
import type { Finding, Reader } from "../harness/reader";
import { expect, test } from "../harness/test";
import type { View } from "../harness/view";

/** CSS pixels: lanes of marks, and how far a mark's head reaches. */
const LANE = 6;
const MARKS = 3 * LANE;

/** The guest process that used most cpu: its CR3, and when it began. */
async function guilty(truth: Reader): Promise<{ cr3: string; since: number }> {
  const processes = (await truth.tracks()).filter((track) => track.kind === "process");
  const most = processes.reduce((a, b) => ((a.states.guest ?? 0) > (b.states.guest ?? 0) ? a : b));
  const { cr3 } = (await truth.processes()).find((process) => process.process_id === most.id)!;
  return { cr3, since: (await truth.step("process", most.id, -1, "next"))!.start };
}

const list = (view: View) => view.page.locator("main .findings ol > li");
const strip = (view: View) => view.page.getByRole("region", { name: "Findings" });

/** A colour of the page's style sheet, as `View.pixels` writes it. */
const colour = (view: View, name: string) => view.page.evaluate((name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim(), name);

/** Where the row of a finding's interval is, and from which to which device pixel it goes. */
async function frame(view: View, key: string, span: { start: number; end: number }) {
  const { from, to, plotWidth, dpr, rows } = await view.layout();
  const row = rows.find((row) => `${row.kind}.${row.id}` === key);
  const x = (t: number) => Math.round(((t - from) / (to - from)) * plotWidth);
  return { row, left: x(span.start), right: Math.max(x(span.start) + 2, x(span.end)), width: plotWidth, dpr };
}

test("the list says what the tables say, the culprit first", async ({ open, read }) => {
  const { dataset, truth } = noisyNeighbour();
  const found = (await read(dataset).findings())!;
  const { cr3 } = await guilty(read(truth));
  const view = await open(dataset, "#tab=findings");
  await expect(list(view)).toHaveCount(found.length);
  expect(found[0]!.title).toContain(cr3);
  for (const [i, finding] of found.entries()) {
    const item = list(view).nth(i);
    await expect(item).toContainText(finding.title);
    await expect(item.locator(".sev")).toContainText(finding.severity);
    await expect(item).toContainText(finding.kind);
    if (finding.vm_id !== null) await expect(item.locator(".swatch")).toHaveCount(1);
    const n = finding.spans.length;
    await expect(item).toContainText(n === 1 ? "1 interval proves it" : `${n} intervals prove it`);
    if (finding.sure < 0.75) await expect(item.locator(".sev")).toContainText("perhaps");
    else await expect(item.locator(".sev")).not.toContainText("perhaps");
  }
  await expect(view.tab("Findings")).toContainText(`(${found.length})`);
});

test("on the first page one line says the first, and how many there are", async ({ open, read }) => {
  const { dataset } = noisyNeighbour();
  const found = (await read(dataset).findings())!;
  const view = await open(dataset);
  await expect(strip(view)).toContainText(found[0]!.title);
  for (const severity of ["high", "medium", "low"]) {
    const n = found.filter((finding) => finding.severity === severity).length;
    if (n) await expect(strip(view)).toContainText(`${n} ${severity}`);
  }
  await strip(view).getByRole("button", { name: /^All findings/ }).click();
  await view.idle();
  await expect(view.tab("Findings")).toHaveAttribute("aria-selected", "true");
});

test("a click leads to the moment, the row and the evidence, and a reload to the same", async ({ open, read }) => {
  const { dataset, truth } = noisyNeighbour();
  const found = (await read(dataset).findings())!;
  const { since } = await guilty(read(truth));
  const { span } = await read(dataset).about();
  const first = found[0]!;
  expect(Math.abs(first.start! - since)).toBeLessThan(0.02 * span);
  const view = await open(dataset, "#tab=findings");
  await list(view).first().getByRole("button").first().click();
  await view.idle();

  // The range has the moment with what was before it, and is in the address.
  const { from, to } = await view.layout();
  expect(from).toBeGreaterThan(0);
  expect(from).toBeLessThan(first.start! - 0.02 * (to - from));
  expect(to).toBeGreaterThan(first.start!);
  expect(view.page.url()).toContain(`range=${from}-${to}`);
  expect(view.page.url()).toContain(`finding=${first.finding_id}`);

  await frames(view, first, `process.${first.process_id}`);
  await view.page.reload();
  await view.idle();
  expect(await view.layout()).toMatchObject({ from, to });
  await frames(view, first, `process.${first.process_id}`);

  await view.page.goBack();
  await view.idle();
  await expect(view.tab("Findings")).toHaveAttribute("aria-selected", "true");
});

/** The row is wholly in sight, chosen, and the finding's intervals on it have their frames, to the pixel. */
async function frames(view: View, finding: Finding, key: string): Promise<void> {
  const overlay = view.page.locator(".stage .overlay");
  const mark = await colour(view, "--finding");
  const box = (await view.canvas().boundingBox())!;
  expect((await view.state()).row).toBe(key);
  await expect(view.page.getByRole("row", { selected: true })).toBeInViewport({ ratio: 1 });
  const [kind, id] = key.split(".");
  const mine = finding.spans.filter((span) => String({ process: span.process_id, vcpu: span.vcpu_id, cpu: span.cpu }[kind!]) === id);
  expect(mine.length).toBeGreaterThan(0);
  for (const span of mine) {
    const { row, left, right, width, dpr } = await frame(view, key, span);
    expect(row, key).toBeDefined();
    expect(row!.top).toBeGreaterThanOrEqual(0);
    expect(row!.top + row!.height).toBeLessThanOrEqual(box.height);
    if (right < 0 || left > width) continue;
    const y = (row!.top + row!.height / 2) * dpr;
    const at = (x: number, y: number): [number, number] => [Math.round(Math.min(Math.max(x, 0), width - 1) * dpr), Math.round(y)];
    const top = row!.top * dpr;
    const middle = (Math.max(left, 0) + Math.min(right, width)) / 2;
    const edges = await view.pixels(overlay, [at(middle, top), ...(left > 1 ? [at(left, y)] : []), ...(right < width - 1 ? [at(right - 1, y)] : [])]);
    expect(edges.every((colour) => colour === mark), `${edges} are ${mark} about ${left} to ${right}`).toBe(true);
    // Outside there is no frame, but of another interval.
    const others = mine.filter((other) => other !== span && other.start < span.start && other.end > span.start);
    if (left > 6 && !others.length) expect(await view.pixels(overlay, [at(left - 5, y)])).not.toContain(mark);
  }
}

test("who lost a cpu is shown on its row, at the longest time it waited", async ({ open, read }) => {
  const { dataset } = noisyNeighbour();
  const found = (await read(dataset).findings())!;
  const steal = found.find((finding) => finding.kind === "steal")!;
  const longest = steal.spans.reduce((a, b) => (b.end - b.start > a.end - a.start ? b : a));
  const view = await open(dataset, `#finding=${steal.finding_id}`);
  // A link that says nothing but the finding is enough.
  await expect(view.tab("Resources")).toHaveAttribute("aria-selected", "true");
  expect((await view.state()).sel).toEqual([longest.start, longest.end]);
  await frames(view, steal, `vcpu.${longest.vcpu_id}`);
  // The cpu that somebody else had meanwhile is marked as well, where it is in sight.
  const { row, left, right } = await frame(view, `cpu.${longest.cpu}`, longest);
  if (row && row.top >= 0) {
    const overlay = view.page.locator(".stage .overlay");
    expect(await view.pixels(overlay, [[Math.round((left + right) / 2), Math.round(row.top)]])).toEqual([await colour(view, "--finding")]);
  }
});

test("N and V go from finding to finding, and through what proves it", async ({ open, read }) => {
  const { dataset } = noisyNeighbour();
  const found = (await read(dataset).findings())!;
  const view = await open(dataset);
  for (const finding of found) {
    await view.press("n");
    expect((await view.state()).finding).toBe(finding.finding_id);
    await expect(strip(view)).toContainText(finding.title);
  }
  await view.press("n");
  await expect(view.page.getByText("This is the last finding.").first()).toBeVisible();
  for (const finding of found.slice(0, -1).reverse()) {
    await view.press("Shift+N");
    expect((await view.state()).finding).toBe(finding.finding_id);
  }
  const proofs = found[0]!.spans.map(({ start, end }) => [start, end]);
  const seen: unknown[] = [];
  for (const _ of proofs) {
    await view.press("v");
    const { sel } = await view.state();
    seen.push(sel);
    const { from, to } = await view.layout();
    expect(from).toBeLessThanOrEqual((sel as number[])[0]!);
    expect(to).toBeGreaterThanOrEqual((sel as number[])[1]!);
  }
  // All of them, from any of them on.
  const key = (pair: unknown) => String(pair);
  expect(seen.map(key).sort()).toEqual(proofs.map(key).sort());
  await view.press("Escape");
  await view.press("Escape");
  expect((await view.state()).finding).toBeNull();
});

test("marks stand where the finding is, on the map and on the axis; they tell and lead", async ({ open, read }) => {
  const { dataset } = noisyNeighbour();
  const found = (await read(dataset).findings())!;
  const { span } = await read(dataset).about();
  const first = found[0]!;
  const view = await open(dataset);
  const red = await colour(view, first.severity === "high" ? "--lost" : "--warn");
  for (const canvas of [view.minimap(), view.page.locator("canvas.axis")]) {
    const box = (await canvas.boundingBox())!;
    const axis = await canvas.evaluate((canvas) => canvas.classList.contains("axis"));
    const { from, to, plotWidth } = axis ? await view.layout() : { from: 0, to: span, plotWidth: box.width };
    const x = Math.round(((first.start! - from) / (to - from)) * plotWidth);
    const high = axis ? box.height - 26 : MARKS;
    const y = high - LANE / 2;
    const at = (dx: number): [number, number] => [x + dx, Math.round(y) - 1];
    expect(await view.pixels(canvas, [at(0), at(20), at(100)])).toEqual([red, red, red]);
    expect(await view.pixels(canvas, [at(-20), at(-12)])).not.toContain(red);
    await view.page.mouse.move(box.x + x, box.y + y);
    await expect(view.page.getByRole("tooltip")).toContainText(first.title);
    await view.page.mouse.move(box.x + x + 60, box.y + y);
    await expect(view.page.getByRole("tooltip")).toContainText(first.title);
    await view.page.mouse.move(box.x + x - 40, box.y + y);
    await expect(view.page.getByRole("tooltip")).toHaveCount(0);
  }
  const box = (await view.minimap().boundingBox())!;
  await view.page.mouse.click(box.x + (first.start! / span) * box.width, box.y + MARKS - LANE / 2);
  await view.idle();
  expect((await view.state()).finding).toBe(first.finding_id);
  expect((await view.state()).row).toBe(`process.${first.process_id}`);
  await expect(view.page.getByRole("tooltip")).toHaveCount(0);
});

test("a click below the marks still moves the window", async ({ open }) => {
  const view = await open(noisyNeighbour().dataset, "#range=1000000000-1500000000");
  const box = (await view.minimap().boundingBox())!;
  await view.page.mouse.click(box.x + 0.8 * box.width, box.y + MARKS + 10);
  await view.idle();
  expect((await view.layout()).from).toBeGreaterThan(5_000_000_000);
  expect((await view.state()).finding).toBeNull();
});

test("the device in a tight loop: the exits are first, and lead to the process", async ({ open, read }) => {
  const { dataset, truth } = scenario("exit-storm");
  const { cr3 } = await guilty(read(truth));
  const view = await open(dataset);
  await expect(strip(view)).toContainText("left its guest");
  await expect(strip(view)).toContainText(cr3);
  await strip(view).getByRole("button", { name: "Show the first finding" }).click();
  await view.idle();
  const first = (await read(dataset).findings())![0]!;
  expect(first.kind).toBe("exits");
  await frames(view, first, `process.${first.process_id}`);
});

test("where nobody looked, that is said", async ({ open, read }) => {
  const { truth } = noisyNeighbour();
  expect(await read(truth).findings()).toBeNull();
  const view = await open(truth);
  await expect(strip(view)).toContainText(/nobody has looked/i);
  await view.show("Findings");
  await expect(view.page.getByRole("tabpanel")).toContainText(/nobody has looked/i);
  await view.press("n");
  await expect(view.page.locator(".toast")).toContainText(/nobody has looked/i);
});

test("a quiet node has nothing unexpected, and that is said", async ({ open, read }) => {
  const { dataset } = scenario("quiet");
  expect(await read(dataset).findings()).toEqual([]);
  const view = await open(dataset);
  await expect(strip(view)).toContainText("Nothing unexpected");
  await view.show("Findings");
  await expect(view.page.getByRole("tabpanel")).toContainText("Nothing unexpected");
});
