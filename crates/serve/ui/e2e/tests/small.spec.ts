// Captures with little or nothing in them: a page that says so, not an empty one.

import { analyzed, capture } from "../harness/datasets";
import { expect, test } from "../harness/test";
import { TABS } from "../harness/view";

for (const name of ["no-vm", "small-buffer-loss"]) {
  test(`every tab of ${name}`, async ({ open }) => {
    const found = capture(name);
    test.skip(!found, `skipped: there is no capture ${name}`);
    const view = await open(analyzed(found!));
    for (const [i, tab] of TABS.entries()) {
      await view.press(String(i + 1));
      await expect(view.tab(tab)).toHaveAttribute("aria-selected", "true");
      expect((await view.page.getByRole("tabpanel").innerText()).trim()).not.toBe("");
    }
  });
}

test("no VM: the page says so", async ({ open }) => {
  const found = capture("no-vm");
  test.skip(!found, "skipped: there is no capture no-vm");
  const { page } = await open(analyzed(found!));
  await expect(page.getByText(/no VM/i).first()).toBeVisible();
  await expect(page.getByText(/NaN|undefined|null|Infinity/)).toHaveCount(0);
});

test("lost trace is told", async ({ open }) => {
  const found = capture("small-buffer-loss");
  test.skip(!found, "skipped: there is no capture small-buffer-loss");
  const { page } = await open(analyzed(found!));
  await expect(page.getByText(/lost/i).first()).toBeVisible();
});
