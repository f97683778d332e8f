// The page, driven as a person would and read as it stands.

import type { Locator, Page, Request } from "@playwright/test";
import type { Kind } from "./reader";

export interface TrackRow {
  kind: Kind;
  id: number;
  top: number;
  height: number;
  /** How much of the height is the picture; the rest stays empty. */
  drawn: number;
  /** Whether it is drawn from shares of bins, or interval by interval. */
  binned: boolean;
}

/** Where the page says that it drew what, in CSS pixels of the canvas. */
export interface Layout {
  view: string;
  from: number;
  to: number;
  plotLeft: number;
  plotWidth: number;
  dpr: number;
  rows: TrackRow[];
}

export interface Look {
  kind: Kind;
  id: number;
  state: string;
  evidence: string;
  by_kind: string;
  by_id: number;
}

interface Hooks {
  idle(): Promise<void>;
  layout(): Layout;
  colourOf(look: Look): string[];
  background(): string;
  state(): Record<string, unknown>;
  benchmark(rectangles: number): Promise<{ median: number; p99: number; frames: number[] }>;
}

declare global {
  interface Window {
    havana: Hooks;
  }
}

export const TABS = ["Resources", "Processes", "Exits", "Who took whose time", "Findings"] as const;

export class View {
  /** Errors in the console or thrown, and requests to anybody but the server. */
  readonly complaints: string[] = [];
  /** What was asked of the server. */
  readonly asked: URL[] = [];

  constructor(
    readonly page: Page,
    readonly url: string,
  ) {
    page.on("console", (message) => {
      if (message.type() === "error") this.complaints.push(`console: ${message.text()}`);
    });
    page.on("pageerror", (error) => this.complaints.push(`thrown: ${error.message}`));
    page.on("request", (request: Request) => {
      const target = new URL(request.url());
      if (["data:", "blob:"].includes(target.protocol)) return;
      if (target.origin !== new URL(this.url).origin) this.complaints.push(`request to another host: ${request.url()}`);
      else this.asked.push(target);
    });
  }

  /** Opens the page at a deep link: what stands behind the # of its address. */
  async goto(hash = ""): Promise<void> {
    await this.page.goto(this.url + hash);
    await this.idle();
  }

  /** Goes to a range (and whatever else is given) as a link in the page's own address bar would. */
  async link(parts: { tab?: string; from?: number; to?: number; theme?: "dark" | "light"; labels?: boolean; [key: string]: unknown }): Promise<void> {
    const { from, to, labels, ...rest } = parts;
    const hash = new URLSearchParams(Object.entries(rest).map(([key, value]) => [key, String(value)]));
    if (from !== undefined && to !== undefined) hash.set("range", `${Math.round(from)}-${Math.round(to)}`);
    if (labels === false) hash.set("labels", "0");
    await this.page.evaluate((hash) => {
      location.hash = hash;
    }, hash.toString());
    await this.page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))));
    await this.idle();
  }

  async idle(): Promise<void> {
    await this.page.waitForFunction(() => window.havana !== undefined);
    await this.page.evaluate(() => window.havana.idle());
  }

  layout(): Promise<Layout> {
    return this.page.evaluate(() => window.havana.layout());
  }

  state(): Promise<Record<string, unknown>> {
    return this.page.evaluate(() => window.havana.state());
  }

  colours(looks: Look[]): Promise<string[][]> {
    return this.page.evaluate((looks) => looks.map((look) => (look.state === "background" ? [window.havana.background()] : window.havana.colourOf(look))), looks);
  }

  tab(name: string) {
    return this.page.getByRole("tab", { name });
  }

  async show(name: string): Promise<void> {
    await this.tab(name).click();
    await this.idle();
  }

  canvas(): Locator {
    return this.page.locator("#tracks");
  }

  /** Colours of a canvas as it is on the screen, at device pixels. */
  pixels(canvas: Locator, points: [x: number, y: number][]): Promise<string[]> {
    return canvas.evaluate((canvas, points) => {
      const { width, height } = canvas as HTMLCanvasElement;
      const { data } = (canvas as HTMLCanvasElement).getContext("2d")!.getImageData(0, 0, width, height);
      return points.map(([x, y]) => {
        const at = (y * width + x) * 4;
        return `#${[...data.subarray(at, at + 3)].map((byte) => byte.toString(16).padStart(2, "0")).join("")}`;
      });
    }, points);
  }

  minimap(): Locator {
    return this.page.locator(".minimap canvas");
  }

  /** Scrolls the rows to a part (0 to 1) of their height. */
  async scroll(part: number): Promise<void> {
    await this.page.locator(".scroller").evaluate((scroller, part) => {
      scroller.scrollTop = part * (scroller.scrollHeight - scroller.clientHeight);
    }, part);
    await this.idle();
  }

  /** Presses a key and waits until all is drawn. */
  async press(key: string): Promise<void> {
    await this.page.keyboard.press(key);
    await this.idle();
  }

  /** The point of the window where this time of this row is drawn. */
  async place(row: TrackRow, t: number): Promise<{ x: number; y: number }> {
    const layout = await this.layout();
    const box = (await this.canvas().boundingBox())!;
    const part = (t - layout.from) / (layout.to - layout.from);
    return { x: box.x + layout.plotLeft + part * layout.plotWidth, y: box.y + row.top + row.height / 2 };
  }
}
