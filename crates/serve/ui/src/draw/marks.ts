// The marks of findings: a head where one begins, a line as long as it lasts. Severity is told by colour and by shape.
//
//   high     ▼ and a thick line      medium   ◆ and a line      low   ○ and a fine line

import type { Severity } from '../api/types';
import { HEAD, type Drawn } from '../layout/marks';

export const HEADS: Record<Severity, string> = { high: '▼', medium: '◆', low: '○' };
const COLOUR: Record<Severity, string> = { high: '--lost', medium: '--warn', low: '--dim' };
const LINE: Record<Severity, number> = { high: 2, medium: 2, low: 1 };

export function drawMarks(
  g: CanvasRenderingContext2D,
  marks: readonly Drawn[],
  width: number,
  css: CSSStyleDeclaration,
  chosen: number | null,
): void {
  const colour = (m: Drawn) => css.getPropertyValue(COLOUR[m.finding.severity]).trim();
  // The first finding is drawn last: nothing lies over it.
  const order = [...marks].reverse();
  for (const m of order) {
    const [a, b] = [Math.max(0, Math.round(m.head)), Math.min(width, Math.round(m.end))];
    // What is shorter than its head is the head alone.
    if (b - a <= HEAD) continue;
    const thick = LINE[m.finding.severity] + (m.finding.finding_id === chosen ? 1 : 0);
    g.fillStyle = colour(m);
    g.fillRect(a, Math.round(m.y - thick / 2), b - a, thick);
    // Where it is over before the strip is, its end is seen.
    if (b < width - 1) g.fillRect(b - 1, Math.round(m.y - 2), 1, 5);
  }
  for (const m of order) {
    if (m.head < 0 || m.head > width) continue;
    const on = m.finding.finding_id === chosen;
    head(g, m.finding.severity, Math.round(m.head), Math.round(m.y), colour(m), css.getPropertyValue('--panel').trim());
    if (on) {
      g.strokeStyle = css.getPropertyValue('--ink').trim();
      g.lineWidth = 1.25;
      outline(g, m.finding.severity, Math.round(m.head), Math.round(m.y));
      g.stroke();
    }
  }
}

function outline(g: CanvasRenderingContext2D, severity: Severity, x: number, y: number): void {
  g.beginPath();
  if (severity === 'high') {
    g.moveTo(x - HEAD, y - 3);
    g.lineTo(x + HEAD, y - 3);
    g.lineTo(x, y + 4);
  } else if (severity === 'medium') {
    g.moveTo(x, y - 3.5);
    g.lineTo(x + 3.5, y);
    g.lineTo(x, y + 3.5);
    g.lineTo(x - 3.5, y);
  } else g.arc(x, y, 2.5, 0, 2 * Math.PI);
  g.closePath();
}

function head(g: CanvasRenderingContext2D, severity: Severity, x: number, y: number, colour: string, ground: string): void {
  outline(g, severity, x, y);
  // A ring of the ground keeps it off the lines it stands on.
  g.strokeStyle = ground;
  g.lineWidth = 2.5;
  g.stroke();
  g.fillStyle = severity === 'low' ? ground : colour;
  g.fill();
  if (severity !== 'low') return;
  g.strokeStyle = colour;
  g.lineWidth = 1.25;
  g.stroke();
}
