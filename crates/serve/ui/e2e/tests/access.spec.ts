// Who uses a keyboard or a screen reader, or sees few colours, gets the same page.

import AxeBuilder from "@axe-core/playwright";
import { noisyNeighbour } from "../harness/datasets";
import { expect, test } from "../harness/test";
import { TABS } from "../harness/view";

for (const theme of ["dark", "light"]) {
  for (const tab of ["resources", "processes", "exits", "stolen", "findings"]) {
    test(`axe finds nothing in ${tab}, ${theme}`, async ({ open }) => {
      const view = await open(noisyNeighbour().dataset, `#tab=${tab}&theme=${theme}&row=vcpu.0`);
      const { violations } = await new AxeBuilder({ page: view.page }).analyze();
      expect(violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.target.join(" ")).join(", ")}`)).toEqual([]);
    });
  }
}

for (const theme of ["dark", "light"]) {
  test(`axe finds nothing in compare, ${theme}`, async ({ openDiff }) => {
    const view = await openDiff([noisyNeighbour().dataset, "--a-to", "2", "--b-from", "2"], `#tab=compare&theme=${theme}&all=1`);
    const { violations } = await new AxeBuilder({ page: view.page }).analyze();
    expect(violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.target.join(" ")).join(", ")}`)).toEqual([]);
  });
}

test("roles and names", async ({ open }) => {
  const { page } = await open(noisyNeighbour().dataset);
  await expect(page.getByRole("tablist")).toHaveCount(1);
  for (const name of TABS) await expect(page.getByRole("tab", { name })).toHaveCount(1);
  await expect(page.getByRole("tabpanel")).toHaveCount(1);
  await expect(page.getByRole("searchbox")).toHaveAccessibleName(/find|search|filter/i);
  await expect(page.getByRole("main")).toHaveCount(1);
  await expect(page.getByRole("heading", { level: 1 })).toHaveCount(1);
  for (const name of await page.getByRole("button").all()) await expect(name).toHaveAccessibleName(/\S/);
});

test("Tab reaches every part, in the order of the page, and its place is seen", async ({ open }) => {
  const { page } = await open(noisyNeighbour().dataset);
  await page.locator("body").focus();
  const stops: { what: string; top: number; seen: boolean }[] = [];
  for (let i = 0; i < 80; i++) {
    await page.keyboard.press("Tab");
    const stop = await page.evaluate(() => {
      const element = document.activeElement as HTMLElement | null;
      if (!element || element === document.body) return null;
      const look = () => {
        const { outline, boxShadow, backgroundColor, borderColor } = getComputedStyle(element);
        return [outline, boxShadow, backgroundColor, borderColor].join();
      };
      const focused = look();
      element.blur();
      const seen = look() !== focused;
      element.focus();
      const name = element.getAttribute("aria-label") ?? element.textContent?.slice(0, 30);
      return { what: `${element.getAttribute("role") ?? element.localName} ${name}`, top: element.getBoundingClientRect().top, seen };
    });
    if (!stop) break;
    stops.push(stop);
  }
  expect(stops.length).toBeGreaterThan(6);
  expect(stops.filter((stop) => !stop.seen)).toEqual([]);
  expect(stops.some((stop) => stop.what.startsWith("tab "))).toBe(true);
  expect(stops.some((stop) => stop.what.startsWith("row "))).toBe(true);
});

test("arrow keys change the tab", async ({ open }) => {
  const view = await open(noisyNeighbour().dataset);
  await view.tab("Resources").focus();
  await view.press("ArrowRight");
  await expect(view.tab("Processes")).toBeFocused();
});

test("what the canvas shows is told in words", async ({ open }) => {
  const view = await open(noisyNeighbour().dataset);
  await expect(view.page.getByRole("treegrid")).toHaveAccessibleName(/\S/);
  await expect(view.page.getByRole("row", { name: /^cpu 0: .*guest \d.* %/ })).toBeVisible();
  const { from, to, rows } = await view.layout();
  const place = await view.place(rows.find((row) => row.kind === "cpu")!, (from + to) / 2);
  await view.page.mouse.click(place.x, place.y);
  await view.idle();
  await expect(view.page.getByRole("status").filter({ hasText: /guest|idle|host|hypervisor/ })).not.toHaveCount(0);
});

test("who asked for less motion gets none", async ({ open, page }) => {
  await page.emulateMedia({ reducedMotion: "reduce" });
  const view = await open(noisyNeighbour().dataset);
  await view.press("w");
  expect(await page.evaluate(() => document.getAnimations().length)).toBe(0);
});

test("a narrow window still shows all tabs and the tracks", async ({ open, page }) => {
  await page.setViewportSize({ width: 800, height: 600 });
  const view = await open(noisyNeighbour().dataset);
  for (const name of TABS) await expect(view.tab(name)).toBeVisible();
  expect((await view.layout()).plotWidth).toBeGreaterThan(300);
  expect(await page.evaluate(() => document.documentElement.scrollWidth - innerWidth)).toBeLessThanOrEqual(0);
});
