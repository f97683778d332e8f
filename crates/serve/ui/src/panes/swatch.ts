// A little picture of a state, the very pixels that the tracks have.

import type { Palette } from '../draw/palette';
import { Raster, type Style, packed } from '../draw/raster';
import { h, canvasContext } from '../util/dom';

const made = new WeakMap<Style, string>();

function picture(style: Style, ground: string): string {
  let url = made.get(style);
  if (url) return url;
  const raster = new Raster(16, 16);
  raster.clear(packed(ground));
  raster.rect(0, 0, 16, 16, { ...style, edge: 0 });
  const canvas = h('canvas', { width: 16, height: 16 });
  canvasContext(canvas).putImageData(new ImageData(new Uint8ClampedArray(raster.pixels.buffer as ArrayBuffer), 16, 16), 0, 0);
  url = `url(${canvas.toDataURL()})`;
  made.set(style, url);
  return url;
}

/** CSS background of a style, for bars and swatches; textures keep their whole device pixels. */
export function background(palette: Palette, style: Style): string {
  if (!style.tile) return style.colours[0];
  return `${picture(style, palette.ground.background)} 0 0 / ${16 / devicePixelRatio}px`;
}

export function swatch(palette: Palette, style: Style, hollow = false): HTMLElement {
  return h('i', { class: hollow ? 'swatch hollow' : 'swatch', style: `background:${background(palette, style)}`, 'aria-hidden': 'true' });
}
