// What is drawn, against what the dataset says: random device pixels of the tracks, each judged by the independent reader.
//
// A device pixel stands for a column of time and, in a row of bins, for a height. Its colour must be one that the page's own
// legend (`colourOf`) gives for a state which the reader finds there:
//
//   intervals   a state that lies, at least in part, in the column
//   bins        the state that a stack of the column's shares has at that height. Bins stand on a grid of absolute ticks and are
//               as wide as the greatest power of two that is not wider than a pixel, so a column is a mixture of those that it
//               overlaps. One device pixel of grace up and down, and one more for each state that is too thin to be seen and is
//               given a pixel all the same.
//   nothing     the background, where what is known of the column does not reach that height

import type { Random } from "./random";
import type { Kind, Reader, Share } from "./reader";
import type { Layout, Look, TrackRow, View } from "./view";

export interface Pixel {
  row: TrackRow;
  x: number;
  y: number;
  colour: string;
}

export interface Wrong {
  row: string;
  at: string;
  drawn: string;
  allowed: string;
}

const STATES = ["guest", "hypervisor", "preempted", "waiting", "off_cpu", "host", "idle", "unknown", "lost"];
const EVIDENCE = ["observed", "inferred", "unknown", "lost"];
const BY = ["none", "vm", "host"];
const BACKGROUND = "background";

/** Random device pixels inside the rows that are in sight. */
export async function randomPixels(view: View, layout: Layout, random: Random, count: number, canvas = view.canvas()): Promise<Pixel[]> {
  const { dpr } = layout;
  const box = (await canvas.boundingBox())!;
  const rows = layout.rows.filter((row) => row.top >= 0 && row.top + row.height <= box.height && row.height * dpr >= 4);
  if (rows.length === 0) return [];
  const left = Math.ceil(layout.plotLeft * dpr);
  const right = Math.floor((layout.plotLeft + layout.plotWidth) * dpr);
  const points = Array.from({ length: count }, () => {
    const row = random.pick(rows);
    const top = Math.round(row.top * dpr);
    return { row, x: left + random.below(right - left), y: top + random.below(Math.round(row.drawn * dpr)) };
  });
  const colours = await view.pixels(canvas, points.map(({ x, y }) => [x, y]));
  return points.map((point, i) => ({ ...point, colour: colours[i]! }));
}

/** The pixels whose colour no state explains that the reader finds there. */
export async function wrongPixels(view: View, layout: Layout, reader: Reader, pixels: Pixel[]): Promise<Wrong[]> {
  const first = BigInt((await reader.about()).first);
  const perPixel = (layout.to - layout.from) / layout.plotWidth;
  const perDevicePixel = perPixel / layout.dpr;
  const column = (x: number): [number, number] => {
    const begin = layout.from + (x / layout.dpr - layout.plotLeft) * perPixel;
    return [begin, begin + perDevicePixel];
  };

  const spans: [Kind, number, number, number][] = [];
  const ask = (row: TrackRow, begin: number, end: number) => spans.push([row.kind, row.id, begin, end]) - 1;
  const asked = pixels.map(({ row, x }) => {
    const [begin, end] = column(x);
    // The page may ask for a little more or less than what is seen, and may hold bins of half the width from before.
    const widths = new Set([0.98, 1, 1.02, 0.5].map((near) => 2 ** Math.floor(Math.log2(Math.max(1, near * perDevicePixel)))));
    return {
      whole: ask(row, begin, end),
      mixtures: [...widths].map((width) => binsOver(begin, end, width, first).map(({ from, part }) => ({ bin: ask(row, from, from + width), part }))),
    };
  });
  const shares = await reader.shares(spans);

  const looks = new Map<string, Look>();
  const judged = pixels.map(({ row, y }, i) => {
    const { whole, mixtures } = asked[i]!;
    const height = (row.top + row.drawn - (y + 0.5) / layout.dpr) / row.drawn;
    const pixel = 1 / (row.drawn * layout.dpr);
    const stacks = [shares[whole]!, ...mixtures.map((bins) => mixture(bins.map(({ bin, part }) => [shares[bin]!, part])))];
    const may = !row.binned ? present(shares[whole]!) : stacks.flatMap((stack) => covering(stack, height, pixel));
    return may.map((share) => {
      const [state, evidence, by_kind, by_id] = share;
      const look = { kind: row.kind, id: row.id, state, evidence, by_kind, by_id };
      const name = JSON.stringify(look);
      looks.set(name, look);
      return name;
    });
  });
  const names = [...looks.keys()];
  const colours = new Map((await view.colours([...looks.values()])).map((colours, i) => [names[i]!, colours.map((colour) => colour.toLowerCase())]));

  return pixels.flatMap((pixel, i) => {
    const allowed = [...new Set(judged[i])];
    if (allowed.some((name) => colours.get(name)!.includes(pixel.colour))) return [];
    const [begin, end] = column(pixel.x);
    return {
      row: `${pixel.row.kind} ${pixel.row.id} (${pixel.row.binned ? "bins" : "intervals"})`,
      at: `pixel ${pixel.x}, ${pixel.y}: ticks ${begin.toFixed(1)} to ${end.toFixed(1)}`,
      drawn: pixel.colour,
      allowed: allowed.map((name) => `${colours.get(name)!.join("|")} = ${name}`).join(", "),
    };
  });
}

/** The bins of this width that overlap [begin, end), on the grid of absolute ticks, and which part of it each covers. */
function binsOver(begin: number, end: number, width: number, first: bigint): { from: number; part: number }[] {
  const offset = Number(first % BigInt(width));
  const bins: { from: number; part: number }[] = [];
  for (let from = Math.floor((begin + offset) / width) * width - offset; from < end; from += width) {
    bins.push({ from, part: (Math.min(end, from + width) - Math.max(begin, from)) / (end - begin) });
  }
  return bins;
}

/** Several stacks as one, each with its weight. */
function mixture(stacks: [Share[], number][]): Share[] {
  const all = new Map<string, Share>();
  for (const [stack, weight] of stacks) {
    for (const share of stack) {
      const key = share.slice(0, 4).join();
      const sum = all.get(key) ?? [share[0], share[1], share[2], share[3], 0];
      sum[4] += share[4] * weight;
      all.set(key, sum);
    }
  }
  return [...all.values()];
}

/** How a track stacks its states: by state, then by whom they are owed to, then by evidence. */
function stacked(stack: Share[]): Share[] {
  const rank = ([state, evidence, byKind, byId]: Share) => [STATES.indexOf(state), BY.indexOf(byKind), byId, EVIDENCE.indexOf(evidence)];
  return [...stack].sort((a, b) => {
    const [left, right] = [rank(a), rank(b)];
    const differs = left.findIndex((value, i) => value !== right[i]);
    return differs < 0 ? 0 : left[differs]! - right[differs]!;
  });
}

function nothing(part: number): Share {
  return [BACKGROUND, "observed", "none", -1, part];
}

/** What a column of intervals can show: every state in it, and the background where they leave a gap. */
function present(stack: Share[]): Share[] {
  const known = stack.reduce((sum, [, , , , part]) => sum + part, 0);
  return known < 1 - 1e-9 ? [...stack, nothing(1 - known)] : stack;
}

/** What a stack of shares can show at this height, where a pixel is so high. */
function covering(stack: Share[], height: number, pixel: number): Share[] {
  const grace = pixel * (1 + stack.filter(([, , , , part]) => part < pixel).length);
  let reached = 0;
  const found: Share[] = [];
  for (const share of stacked(stack)) {
    const next = reached + share[4];
    if (reached - grace <= height && height <= next + grace) found.push(share);
    reached = next;
  }
  if (height >= reached - grace && reached < 1 - 1e-9) found.push(nothing(1 - reached));
  return found;
}
