// Where the plot lies on the page. Axis, tracks and curves all ask here, so that they stand exactly one above the other.

/** Width of the column of row headers. */
export const GUTTER = 264;

let bar = -1;

/** Width of a scroll bar, which every view keeps free at its right. */
export function scrollBar(): number {
  if (bar < 0) {
    const el = document.createElement('div');
    el.style.cssText = 'position:absolute;visibility:hidden;overflow-y:scroll;width:60px;height:60px;scrollbar-width:thin';
    document.body.append(el);
    bar = el.offsetWidth - el.clientWidth;
    el.remove();
  }
  return bar;
}

/** Width of the plot in CSS pixels, whole device pixels. */
export function plotWidth(main: HTMLElement): number {
  const dpr = devicePixelRatio;
  return Math.max(1, Math.floor((main.clientWidth - GUTTER - scrollBar()) * dpr) / dpr);
}
