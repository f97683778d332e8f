// What is carried away from the page: CSV, PNG, SVG.

import { readFileSync } from "node:fs";
import { noisyNeighbour } from "../harness/datasets";
import { expect, test } from "../harness/test";
import type { View } from "../harness/view";

const RANGE = { from: 1_000_000_000, to: 3_000_000_000 };
const LINK = `#range=${RANGE.from}-${RANGE.to}`;

async function download(view: View, name: string): Promise<{ name: string; bytes: Buffer }> {
  const [download] = await Promise.all([view.page.waitForEvent("download"), view.page.getByRole("button", { name, exact: true }).first().click()]);
  return { name: download.suggestedFilename(), bytes: readFileSync((await download.path())!) };
}

/** RFC 4180, as a spreadsheet reads it. */
function csv(text: string): string[][] {
  const rows: string[][] = [[]];
  let field = "";
  let quoted = false;
  for (let i = 0; i < text.length; i++) {
    const c = text[i]!;
    if (quoted) {
      if (c !== '"') field += c;
      else if (text[i + 1] === '"') field += text[++i];
      else quoted = false;
    } else if (c === '"') quoted = true;
    else if (c === "," || c === "\n") {
      rows.at(-1)!.push(field);
      field = "";
      if (c === "\n") rows.push([]);
    } else if (c !== "\r") field += c;
  }
  if (field || rows.at(-1)!.length) rows.at(-1)!.push(field);
  return rows.filter((row) => row.length > 0);
}

test("CSV holds the sums of what is seen", async ({ open, read }) => {
  const { dataset } = noisyNeighbour();
  const view = await open(dataset, LINK);
  const file = await download(view, "CSV");
  expect(file.name).toMatch(/\.csv$/);
  const [head, ...rows] = csv(file.bytes.toString("utf8"));
  expect(new Set(rows.map((row) => row.length))).toEqual(new Set([head!.length]));
  const column = (name: RegExp) => head!.findIndex((title) => name.test(title));
  const ticks = column(/ticks/i);
  const state = column(/^state/i);
  expect(ticks).toBeGreaterThanOrEqual(0);
  expect(state).toBeGreaterThanOrEqual(0);

  // Each (track, state) once or split further: their sums by state are those of the reader.
  const kind = column(/^(kind|track)/i);
  const expected = new Map<string, number>();
  for (const [track, , name, , , , time] of await read(dataset).sums(RANGE.from, RANGE.to)) {
    if (track === "vcpu") expected.set(name, (expected.get(name) ?? 0) + time);
  }
  const found = new Map<string, number>();
  for (const row of rows) {
    const name = row[state]!.replace(" ", "_");
    if (row[kind]!.startsWith("vcpu") || row[kind]!.startsWith("vCPU")) found.set(name, (found.get(name) ?? 0) + Number(row[ticks]));
  }
  expect(Object.fromEntries([...found].filter(([, time]) => time > 0))).toEqual(Object.fromEntries(expected));
});

test("PNG is a picture of what is on the screen", async ({ open }) => {
  const view = await open(noisyNeighbour().dataset, LINK);
  const file = await download(view, "PNG");
  expect(file.name).toMatch(/\.png$/);
  expect(file.bytes.subarray(0, 8)).toEqual(Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]));
  const { plotWidth, dpr } = await view.layout();
  const colours = await view.page.evaluate(async (bytes) => {
    const bitmap = await createImageBitmap(new Blob([new Uint8Array(bytes)], { type: "image/png" }));
    const context = new OffscreenCanvas(bitmap.width, bitmap.height).getContext("2d")!;
    context.drawImage(bitmap, 0, 0);
    const { data } = context.getImageData(0, 0, bitmap.width, bitmap.height);
    return { width: bitmap.width, height: bitmap.height, colours: new Set(new Uint32Array(data.buffer)).size };
  }, [...file.bytes]);
  expect(colours.width).toBeGreaterThanOrEqual(Math.floor(plotWidth * dpr));
  expect(colours.height).toBeGreaterThan(50);
  expect(colours.colours).toBeGreaterThan(5);
});

test("SVG is well-formed, stands alone and names its rows", async ({ open }) => {
  const view = await open(noisyNeighbour().dataset, LINK);
  const file = await download(view, "SVG");
  expect(file.name).toMatch(/\.svg$/);
  const text = file.bytes.toString("utf8");
  const parsed = await view.page.evaluate((text) => {
    const svg = new DOMParser().parseFromString(text, "image/svg+xml");
    return {
      root: svg.documentElement.localName,
      broken: svg.querySelector("parsererror")?.textContent ?? null,
      shapes: svg.querySelectorAll("rect, path").length,
      words: svg.documentElement.textContent ?? "",
      outside: [...svg.querySelectorAll("*")].filter((element) => [...element.attributes].some((a) => /href$/.test(a.name) && !/^(#|data:)/.test(a.value))).length,
      active: svg.querySelectorAll("script, foreignObject").length,
    };
  }, text);
  expect(parsed).toMatchObject({ root: "svg", broken: null, outside: 0, active: 0 });
  expect(parsed.shapes).toBeGreaterThan(20);
  expect(parsed.words).toContain("cpu 0");
});

test("CSV of the exits holds what the list holds", async ({ open, read }) => {
  const { dataset } = noisyNeighbour();
  const view = await open(dataset, `${LINK}&tab=exits`);
  const file = await download(view, "CSV");
  const [head, ...rows] = csv(file.bytes.toString("utf8"));
  expect(new Set(rows.map((row) => row.length))).toEqual(new Set([head!.length]));
  expect(rows.length).toBeGreaterThan(0);
  expect((await read(dataset).exits(RANGE.from, RANGE.to)).count).toBeGreaterThan(0);
});
