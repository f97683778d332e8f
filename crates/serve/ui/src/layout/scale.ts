// Time ↔ pixel. One scale serves everything that is drawn over time, so that nothing can stand one pixel beside the other.

export class Scale {
  /** `width` pixels show [from, to). */
  constructor(
    readonly from: number,
    readonly to: number,
    readonly width: number,
  ) {}

  get ticksPerPixel(): number {
    return (this.to - this.from) / this.width;
  }

  x(t: number): number {
    return ((t - this.from) / (this.to - this.from)) * this.width;
  }

  t(x: number): number {
    return this.from + (x / this.width) * (this.to - this.from);
  }
}

/**
 * Whole device pixels of an interval: its edges rounded, and never less than one pixel. What is thinner stands on the
 * pixel in which it begins, so that the pixel's time always holds a part of it.
 */
export function pixelsOf(x0: number, x1: number): [number, number] {
  const a = Math.round(x0);
  const b = Math.round(x1);
  if (b > a) return [a, b];
  const p = Math.floor(x0);
  return [p, p + 1];
}
