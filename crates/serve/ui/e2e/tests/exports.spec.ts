// What is carried away from the page: PNG and SVG, as files. (What stands in a CSV is checked in numbers.spec.ts.)

import { noisyNeighbour } from "../harness/datasets";
import { expect, test } from "../harness/test";
import { saved } from "../harness/text";

const RANGE = { from: 1_000_000_000, to: 3_000_000_000 };
const LINK = `#range=${RANGE.from}-${RANGE.to}`;

test("PNG is a picture of what is on the screen", async ({ open }) => {
  const view = await open(noisyNeighbour().dataset, LINK);
  const file = await saved(view, "header", /PNG/);
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
  const file = await saved(view, "header", /SVG/);
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

test("every CSV has a name that says what it is", async ({ open }) => {
  const view = await open(noisyNeighbour().dataset, LINK);
  expect((await saved(view, "section.pane", /CSV/)).name).toMatch(/^havana-sums-1000000000-3000000000\.csv$/);
  await view.show("Exits");
  expect((await saved(view, "main .slowest", /CSV/)).name).toMatch(/^havana-.*exits.*\.csv$/);
  await view.link({ tab: "stolen", ...RANGE, cell: "0,vm.1" });
  expect((await saved(view, "main .stolen", /CSV/)).name).toMatch(/^havana-.*\.csv$/);
});
