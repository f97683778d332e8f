import type { App, Part } from '../app';
import type { View } from '../model/view';
import { h } from '../util/dom';
export class FindingsView implements Part {
  readonly el = h('div', { class: 'sheet' });
  constructor(private readonly app: App, _main?: HTMLElement) {}
  update(now: View): void { this.el.hidden = now.tab !== 'findings'; void this.app; }
}
