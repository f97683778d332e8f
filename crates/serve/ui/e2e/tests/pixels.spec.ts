// At 1,000 random pixels of each view of every capture: what is drawn is what an independent reader finds in the dataset.

import { CAPTURES, analyzed, noisyNeighbour } from "../harness/datasets";
import { randomPixels, wrongPixels } from "../harness/picture";
import { Random } from "../harness/random";
import { randomRanges } from "../harness/ranges";
import { expect, test } from "../harness/test";

const PIXELS = 1000;
const RANGES = 8;
/** CSS pixels above the minimap's picture, for its marks. */
const MARKS = 18;

const datasets = [...CAPTURES.map((capture) => ({ name: capture.name, dataset: () => analyzed(capture) })), { name: "noisy-neighbour", dataset: () => noisyNeighbour().dataset }];

for (const [number, { name, dataset }] of datasets.entries()) {
  for (const tab of ["resources", "processes"]) {
    test(`${tab} of ${name}`, async ({ open, read }) => {
      const path = dataset();
      const random = new Random(1000 * number + tab.length);
      const reader = read(path);
      const ranges = await randomRanges(reader, random, RANGES);
      const view = await open(path, `#tab=${tab}&labels=0`);
      let looked = 0;
      for (const [i, range] of ranges.entries()) {
        await view.link({ tab, theme: i % 2 ? "light" : "dark", labels: false, ...range });
        await view.scroll(random.next());
        const layout = await view.layout();
        const pixels = await randomPixels(view, layout, random, Math.ceil(PIXELS / ranges.length));
        looked += pixels.length;
        const wrong = await wrongPixels(view, layout, reader, pixels);
        expect(wrong.slice(0, 5), `${wrong.length} of ${pixels.length} pixels in ticks ${layout.from} to ${layout.to}`).toEqual([]);
      }
      const guests = (await reader.tracks()).some((track) => track.kind === "vcpu");
      if (tab === "resources" || guests) expect(looked).toBeGreaterThanOrEqual(PIXELS);
    });
  }
}

for (const density of [1.25, 2]) {
  test.describe(`a screen of ${density} device pixels`, () => {
    test.use({ deviceScaleFactor: density });
    test("draws the same", async ({ open, read }) => {
      const { dataset } = noisyNeighbour();
      const random = new Random(density * 100);
      const reader = read(dataset);
      const view = await open(dataset, "#labels=0");
      for (const range of await randomRanges(reader, random, RANGES)) {
        await view.link({ labels: false, ...range });
        const layout = await view.layout();
        expect(layout.dpr).toBe(density);
        expect((await wrongPixels(view, layout, reader, await randomPixels(view, layout, random, Math.ceil(PIXELS / RANGES)))).slice(0, 5)).toEqual([]);
      }
    });
  });
}

for (const { name, dataset } of datasets) {
  test(`minimap of ${name}`, async ({ open, read }) => {
    const path = dataset();
    const reader = read(path);
    const view = await open(path);
    const box = (await view.minimap().boundingBox())!;
    const { dpr, from, to } = await view.layout();
    // The strip below the marks, without the frame and the handles of the window.
    const strip = { kind: "node", id: 0, top: MARKS, height: box.height - MARKS, drawn: box.height - MARKS } as const;
    for (const binned of [true, false]) {
      const layout = { view: "minimap", from, to, plotLeft: 0, plotWidth: box.width, dpr, rows: [{ ...strip, binned }] };
      const pixels = (await randomPixels(view, layout, new Random(1), PIXELS, view.minimap())).filter(
        ({ x, y }) => x > 4 * dpr && x < (box.width - 4) * dpr && y > (MARKS + 1) * dpr && y < (box.height - 1) * dpr,
      );
      const wrong = await wrongPixels(view, layout, reader, pixels);
      // Whether it was made of bins the page does not say: one of the two must explain all of it.
      if (wrong.length === 0) return;
      if (!binned) expect(wrong.slice(0, 5)).toEqual([]);
    }
  });
}

test("the look at pixels notices a picture that is shifted", async ({ open, read }) => {
  const { dataset } = noisyNeighbour();
  const reader = read(dataset);
  const view = await open(dataset, "#labels=0");
  const layout = await view.layout();
  const pixels = await randomPixels(view, layout, new Random(7), 300);
  const shifted = pixels.map((pixel) => ({ ...pixel, x: pixel.x + 40 }));
  expect((await wrongPixels(view, layout, reader, shifted)).length).toBeGreaterThan(30);
  const flipped = pixels.map((pixel) => ({ ...pixel, y: Math.round((2 * pixel.row.top + pixel.row.drawn) * layout.dpr) - pixel.y - 1 }));
  expect((await wrongPixels(view, layout, reader, flipped)).length).toBeGreaterThan(30);
});
