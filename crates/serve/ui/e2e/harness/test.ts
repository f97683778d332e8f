// The test of all tests here: it starts `havana view` on a dataset, opens the page and, at the end, looks for complaints.

import { type Page, expect, test as base } from "@playwright/test";
import { havana } from "./datasets";
import { Reader } from "./reader";
import { Server } from "./server.mjs";
import { View } from "./view";

interface Fixtures {
  /** Starts `havana view DATASET`; it is stopped after the test. */
  serve(dataset: string, where?: string[]): Promise<Server>;
  /** Opens the page of a dataset. */
  open(dataset: string, query?: string): Promise<View>;
  /** Opens the page of what changed: `havana diff` with these arguments. */
  openDiff(args: string[], query?: string): Promise<View>;
  /** Opens another page of the same server. */
  openAt(url: string, page: Page): View;
  read(dataset: string): Reader;
  /** The page may complain (tests of errors). */
  mayComplain(): void;
}

export const test = base.extend<Fixtures & { judge: { views: View[]; lenient: boolean } }>({
  judge: async ({}, use) => {
    const judge = { views: [] as View[], lenient: false };
    await use(judge);
    if (!judge.lenient) expect(judge.views.flatMap((view) => view.complaints)).toEqual([]);
  },
  mayComplain: async ({ judge }, use) => {
    await use(() => {
      judge.lenient = true;
    });
  },
  serve: async ({}, use) => {
    const servers: Server[] = [];
    await use(async (dataset, where) => {
      const server = await Server.start(havana(), dataset, where);
      servers.push(server);
      return server;
    });
    await Promise.all(servers.map((server) => server.stop()));
  },
  openAt: async ({ judge }, use) => {
    await use((url, page) => {
      const view = new View(page, url);
      judge.views.push(view);
      return view;
    });
  },
  open: async ({ page, serve, openAt }, use) => {
    await use(async (dataset, query = "") => {
      const view = openAt((await serve(dataset)).url, page);
      await view.goto(query);
      return view;
    });
  },
  openDiff: async ({ page, openAt }, use) => {
    const servers: Server[] = [];
    await use(async (args, query) => {
      const server = await Server.run(havana(), ["diff", ...args, "--view", "--no-open"]);
      servers.push(server);
      const view = openAt(server.url, page);
      await view.goto(query ?? server.printed.slice(server.url.length));
      return view;
    });
    await Promise.all(servers.map((server) => server.stop()));
  },
  read: async ({}, use) => {
    const readers: Reader[] = [];
    await use((dataset) => {
      const reader = new Reader(dataset);
      readers.push(reader);
      return reader;
    });
    readers.forEach((reader) => reader.stop());
  },
});

export { expect };
