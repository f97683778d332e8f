// What a person reads, as numbers again: with how far a rounded one may be from the exact one.

import type { Download } from "@playwright/test";
import { readFileSync } from "node:fs";
import type { View } from "./view";

export interface Rounded {
  value: number;
  within: number;
}

const SECONDS: Record<string, number> = { s: 1, ms: 1e-3, µs: 1e-6, ns: 1e-9 };

function decimal(text: string): Rounded {
  const digits = text.replaceAll(",", "");
  const decimals = digits.split(".")[1]?.length ?? 0;
  return { value: Number(digits), within: 0.5001 * 10 ** -decimals };
}

/** `51.8 ms` or `1,234 ticks`, in ticks. */
export function ticksOf(text: string, hz: number | null): Rounded {
  const found = /([\d,.]+) (s|ms|µs|ns|ticks)\b/.exec(text);
  if (!found) throw new Error(`no length of time: ${text}`);
  const { value, within } = decimal(found[1]!);
  const unit = found[2] === "ticks" ? 1 : SECONDS[found[2]!]! * hz!;
  return { value: value * unit, within: within * unit };
}

/** `71.0 % ±0.3`, as a share of 1. */
export function shareOf(text: string): Rounded {
  const found = /(<?)([\d.]+) %/.exec(text);
  if (!found) throw new Error(`no share: ${text}`);
  const { value, within } = decimal(found[2]!);
  // `<0.01 %`, and `99.9 %` for what is nearly all.
  if (found[1]) return { value: 0, within: value / 100 };
  return { value: value / 100, within: value === 99.9 ? 0.001 : within / 100 };
}

export function isNear({ value, within }: Rounded, exact: number): boolean {
  return Math.abs(value - exact) <= within + 1e-12;
}

/** RFC 4180, as a spreadsheet reads it: a record a row, by the names of the first. */
export function csv(text: string): Record<string, string>[] {
  const rows: string[][] = [[]];
  let field = "";
  let quoted = false;
  const end = () => {
    rows.at(-1)!.push(field);
    field = "";
  };
  for (let i = 0; i < text.length; i++) {
    const c = text[i]!;
    if (quoted && c === '"' && text[i + 1] === '"') field += text[++i];
    else if (c === '"') quoted = !quoted;
    else if (quoted) field += c;
    else if (c === ",") end();
    else if (c === "\n") {
      end();
      rows.push([]);
    } else if (c !== "\r") field += c;
  }
  if (field || rows.at(-1)!.length) end();
  const [head, ...body] = rows.filter((row) => row.length > 0);
  return body.map((row) => {
    if (row.length !== head!.length) throw new Error(`a row of ${row.length} fields under a head of ${head!.length}: ${row}`);
    return Object.fromEntries(row.map((field, i) => [head![i]!, field]));
  });
}

/** Presses a button (found within `part` of the page) and reads the file that it gives. */
export async function saved(view: View, part: string, name: RegExp): Promise<{ name: string; bytes: Buffer }> {
  const button = view.page.locator(part).getByRole("button", { name });
  const [download]: [Download, void] = await Promise.all([view.page.waitForEvent("download"), button.click()]);
  return { name: download.suggestedFilename(), bytes: readFileSync((await download.path())!) };
}
