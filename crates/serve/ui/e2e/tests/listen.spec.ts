// The page for others: an address that is not loopback's asks for a token, once, and keeps it out of the address bar. And the
// page of a trace that was not analyzed before.

import { networkInterfaces } from "node:os";
import { CAPTURES, noisyNeighbour } from "../harness/datasets";
import { expect, test } from "../harness/test";

const address = Object.values(networkInterfaces()).flatMap((all) => all ?? []).find(({ family, internal }) => family === "IPv4" && !internal)?.address;
const LISTEN = ["--listen", `${address}:0`];
const ALONE = "skipped: this machine has no address but loopback";

test("who has the token sees the page, and the address forgets it", async ({ serve, openAt, page }) => {
  test.skip(!address, ALONE);
  const { url } = await serve(noisyNeighbour().dataset, LISTEN);
  const token = new URL(url).searchParams.get("token");
  expect(token).toMatch(/^\S{16,}$/);
  const view = openAt(url, page);
  await view.goto();
  expect(page.url()).not.toContain("token");
  await view.show("Exits");
  await page.reload();
  await view.idle();
  await expect(view.tab("Exits")).toHaveAttribute("aria-selected", "true");
});

test("who has none, or a wrong one, sees nothing", async ({ serve, request }) => {
  test.skip(!address, ALONE);
  const { url } = await serve(noisyNeighbour().dataset, LISTEN);
  const { origin } = new URL(url);
  for (const path of ["/", "/api/dataset", "/api/dataset?token=0000000000000000", "/app.js"]) {
    const answer = await request.get(origin + path);
    expect([401, 403], path).toContain(answer.status());
    expect(await answer.text()).not.toContain("first_tsc");
  }
});

test("another site cannot ask by this browser: the host must be the one that listens", async ({ serve, request }) => {
  const { url } = await serve(noisyNeighbour().dataset);
  const answer = await request.get(`${url}api/dataset`, { headers: { Host: "example.com" } });
  expect(answer.status()).toBeGreaterThanOrEqual(400);
});

test("a trace is analyzed first", async ({ open }) => {
  const view = await open(CAPTURES.find((capture) => !capture.input.endsWith(".perf.data"))!.input);
  expect((await view.layout()).rows.length).toBeGreaterThan(0);
});
