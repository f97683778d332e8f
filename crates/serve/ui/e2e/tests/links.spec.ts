// The address says what is on the screen: a link shows another the same, and the browser's buttons work.

import { noisyNeighbour } from "../harness/datasets";
import { expect, test } from "../harness/test";
import { TABS } from "../harness/view";

test("a link opened elsewhere shows the same", async ({ open, openAt, browser }) => {
  const view = await open(noisyNeighbour().dataset);
  const { from, to, rows } = await view.layout();
  const row = rows.findLast((row) => row.kind === "vcpu")!;
  const place = await view.place(row, (from + to) / 2);
  await view.page.mouse.click(place.x, place.y);
  for (const key of ["w", "w", "d", "p"]) await view.press(key);
  const { x, y } = await view.place((await view.layout()).rows[0]!, (from + to) / 2);
  await view.page.mouse.move(x - 80, y);
  await view.page.mouse.down();
  await view.page.mouse.move(x + 80, y, { steps: 5 });
  await view.page.mouse.up();
  await view.idle();

  const context = await browser.newContext({ viewport: view.page.viewportSize(), colorScheme: "dark" });
  const other = openAt(view.url, await context.newPage());
  await other.page.goto(view.page.url());
  await other.idle();
  expect(await other.layout()).toEqual(await view.layout());
  expect(await other.state()).toEqual(await view.state());
  await context.close();
});

for (const name of TABS) {
  test(`a link to ${name}`, async ({ open, openAt, browser }) => {
    const view = await open(noisyNeighbour().dataset);
    await view.press("w");
    await view.show(name);
    const context = await browser.newContext({ viewport: view.page.viewportSize(), colorScheme: "dark" });
    const other = openAt(view.url, await context.newPage());
    await other.page.goto(view.page.url());
    await other.idle();
    await expect(other.tab(name)).toHaveAttribute("aria-selected", "true");
    expect(await other.state()).toEqual(await view.state());
    await context.close();
  });
}

test("back and forward", async ({ open }) => {
  const view = await open(noisyNeighbour().dataset);
  await view.show("Processes");
  await view.show("Exits");
  await view.page.goBack();
  await view.idle();
  await expect(view.tab("Processes")).toHaveAttribute("aria-selected", "true");
  await view.page.goBack();
  await view.idle();
  await expect(view.tab("Resources")).toHaveAttribute("aria-selected", "true");
  await view.page.goForward();
  await view.idle();
  await expect(view.tab("Processes")).toHaveAttribute("aria-selected", "true");
});

test("changing the tab keeps range, selection and pins", async ({ open }) => {
  const view = await open(noisyNeighbour().dataset, "#range=1000000000-3000000000&sel=1500000000-2000000000&pins=vcpu.1&row=vcpu.1");
  const before = await view.state();
  for (const name of [...TABS].reverse()) await view.show(name);
  expect(await view.state()).toEqual(before);
});

test("Share puts the address on the clipboard", async ({ open, context }) => {
  await context.grantPermissions(["clipboard-read", "clipboard-write"]);
  const view = await open(noisyNeighbour().dataset, "#tab=processes");
  await view.page.getByRole("button", { name: /share/i }).click();
  await expect.poll(() => view.page.evaluate(() => navigator.clipboard.readText())).toBe(view.page.url());
});

test("the theme changes and is kept in the address", async ({ open }) => {
  const view = await open(noisyNeighbour().dataset);
  const theme = () => view.page.evaluate(() => document.documentElement.dataset.theme);
  const before = await theme();
  const background = () => view.page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const colour = await background();
  await view.page.getByRole("button", { name: /^(light|dark) page$/i }).click();
  await view.idle();
  const after = await theme();
  expect(after).not.toBe(before);
  expect(await background()).not.toBe(colour);
  await view.page.reload();
  await view.idle();
  expect(await theme()).toBe(after);
});
