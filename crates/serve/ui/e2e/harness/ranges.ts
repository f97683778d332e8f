// Where to look: the whole capture, and ever deeper into it, down to a single interval.

import type { Random } from "./random";
import type { Reader } from "./reader";

export interface Range {
  from: number;
  to: number;
}

/** The page shows no less than this many ticks. */
const NARROWEST = 64;

export async function randomRanges(reader: Reader, random: Random, count: number): Promise<Range[]> {
  const { span } = await reader.about();
  const ranges: Range[] = [{ from: 0, to: Math.max(1, span) }];
  if (span <= NARROWEST) return ranges;
  const tracks = (await reader.tracks()).filter((track) => track.rows > 0);

  // One interval that fills most of the picture.
  for (let attempt = 0; attempt < 20 && ranges.length < 2; attempt++) {
    const track = random.pick(tracks);
    const [row] = (await reader.at([[track.kind, track.id, random.next() * span]]))[0]!;
    if (!row || row.end - row.start < NARROWEST) continue;
    const room = (row.end - row.start) * 0.1;
    ranges.push(within(row.start - room, row.end + room, span));
  }
  // The others by factors of what is between.
  while (ranges.length < count) {
    const width = span ** random.next() * NARROWEST ** 0.5;
    if (width < NARROWEST || width > span) continue;
    const from = random.next() * (span - width);
    ranges.push(within(from, from + width, span));
  }
  return ranges;
}

function within(from: number, to: number, span: number): Range {
  return { from: Math.max(0, Math.floor(from)), to: Math.min(span, Math.ceil(to)) };
}
