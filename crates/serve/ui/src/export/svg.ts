// Writes a picture as SVG. Textures become patterns of whole pixels, the same as on the screen.

import type { Style } from '../draw/raster';

export interface SvgRect {
  x: number;
  y: number;
  width: number;
  height: number;
  style: Style;
}
export interface SvgPicture {
  title: string;
  width: number;
  height: number;
  names: number;
  background: string;
  ink: string;
  rows: { y: number; indent: number; text: string }[];
  ticks: { x: number; text: string }[];
  rects: SvgRect[];
}

const TITLE = 24;
const AXIS = 26;

export function escapeXml(s: string): string {
  return s.replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);
}

const n = (x: number) => String(Math.round(x * 100) / 100);

function hex(packed: number): string {
  const r = packed & 255;
  const g = (packed >>> 8) & 255;
  const b = (packed >>> 16) & 255;
  return `#${((1 << 24) | (r << 16) | (g << 8) | b).toString(16).slice(1)}`;
}

function pattern(id: string, style: Style): string {
  const { size, tile } = style;
  let out = `<pattern id="${id}" width="8" height="8" patternUnits="userSpaceOnUse" viewBox="0 0 ${size} ${size}"><rect width="${size}" height="${size}" fill="${style.colours[0]}"/>`;
  const ground = style.colours[0];
  for (let y = 0; y < size; y++) {
    for (let x = 0; x < size;) {
      const c = hex(tile![y * size + x]);
      let e = x + 1;
      while (e < size && hex(tile![y * size + e]) === c) e++;
      if (c !== ground) out += `<rect x="${x}" y="${y}" width="${e - x}" height="1" fill="${c}"/>`;
      x = e;
    }
  }
  return `${out}</pattern>`;
}

export function svgPicture(p: SvgPicture): string {
  const w = p.names + p.width;
  const hh = TITLE + AXIS + p.height;
  const ids = new Map<Style, string>();
  const defs: string[] = [];
  // Rectangles of one style are one path: a tenth of the size of an element each.
  const paths = new Map<string, string[]>();
  for (const r of p.rects) {
    let fill = r.style.colours[0];
    if (r.style.tile) {
      let id = ids.get(r.style);
      if (!id) {
        id = `t${ids.size}`;
        ids.set(r.style, id);
        defs.push(pattern(id, r.style));
      }
      fill = `url(#${id})`;
    }
    const d = `M${n(r.x)} ${n(r.y)}h${n(r.width)}v${n(r.height)}h${n(-r.width)}z`;
    const list = paths.get(fill);
    if (list) list.push(d);
    else paths.set(fill, [d]);
  }
  const out = [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${n(w)}" height="${n(hh)}" viewBox="0 0 ${n(w)} ${n(hh)}" font-family="sans-serif" font-size="12">`,
    `<title>${escapeXml(p.title)}</title>`,
    `<defs>${defs.join('')}<clipPath id="plot"><rect width="${n(p.width)}" height="${n(p.height)}"/></clipPath></defs>`,
    `<rect width="100%" height="100%" fill="${p.background}"/>`,
    `<g fill="${p.ink}">`,
    `<text x="8" y="16" font-weight="600">${escapeXml(p.title)}</text>`,
  ];
  for (const t of p.ticks) out.push(`<text x="${n(p.names + t.x + 3)}" y="${TITLE + 16}" font-size="11">${escapeXml(t.text)}</text>`);
  for (const r of p.rows)
    if (r.y > 0 && r.y < p.height) out.push(`<text x="${8 + r.indent}" y="${n(TITLE + AXIS + r.y + 4)}">${escapeXml(r.text)}</text>`);
  out.push('</g>', `<g transform="translate(${p.names} ${TITLE + AXIS})" clip-path="url(#plot)" shape-rendering="crispEdges">`);
  for (const [fill, list] of paths) out.push(`<path fill="${fill}" d="${list.join('')}"/>`);
  out.push('</g>', '</svg>');
  return `${out.join('\n')}\n`;
}
