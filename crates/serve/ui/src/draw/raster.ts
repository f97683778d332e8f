// A picture of whole device pixels. Rectangles are filled by hand into the image's memory, not by the canvas: edges are then
// never blended, a texture is the same flat colours everywhere, and ten thousand rectangles cost what their pixels cost.

/** Flat where `tile` is null; else a square of `size` (a power of two) pixels, laid out from the corner of the picture. */
export interface Style {
  colour: number;
  tile: Uint32Array | null;
  size: number;
  /** Line along the top and bottom of a rectangle that is high enough; 0 for none. */
  edge: number;
  /** Every colour a pixel of it may have, as #rrggbb. */
  colours: string[];
}

export class Raster {
  readonly pixels: Uint32Array;

  constructor(
    readonly width: number,
    readonly height: number,
    memory?: ArrayBufferLike,
  ) {
    this.pixels = memory ? new Uint32Array(memory) : new Uint32Array(width * height);
  }

  clear(colour: number): void {
    this.pixels.fill(colour);
  }

  /** Fills [x0, x1) × [y0, y1), cut to the picture. */
  rect(x0: number, y0: number, x1: number, y1: number, style: Style): void {
    if (x0 < 0) x0 = 0;
    if (y0 < 0) y0 = 0;
    if (x1 > this.width) x1 = this.width;
    if (y1 > this.height) y1 = this.height;
    if (x0 >= x1 || y0 >= y1) return;
    const { pixels, width } = this;
    const { colour, tile, size } = style;
    for (let y = y0; y < y1; y++) {
      const row = y * width;
      if (tile === null) {
        if (x1 - x0 < 16) for (let i = row + x0, e = row + x1; i < e; i++) pixels[i] = colour;
        else pixels.fill(colour, row + x0, row + x1);
        continue;
      }
      const line = (y & (size - 1)) * size;
      const mask = size - 1;
      for (let x = x0; x < x1; x++) pixels[row + x] = tile[line + (x & mask)];
    }
    if (style.edge !== 0 && y1 - y0 >= 6) {
      pixels.fill(style.edge, y0 * width + x0, y0 * width + x1);
      pixels.fill(style.edge, (y1 - 1) * width + x0, (y1 - 1) * width + x1);
    }
  }
}

/** #rrggbb as it lies in image memory (little-endian RGBA). */
export function packed(hex: string): number {
  const n = parseInt(hex.slice(1), 16);
  return ((255 << 24) | ((n & 255) << 16) | (n & 0xff00) | (n >> 16)) >>> 0;
}
