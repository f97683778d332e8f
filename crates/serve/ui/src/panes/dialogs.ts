// Find, and the help on keys. `dialog` traps the focus and closes by Esc by itself.

import type { App } from '../app';
import { KEYS } from '../input/keys';
import { GUEST, OBSERVED } from '../model/states';
import { NO_HUE, hueOfVm } from '../draw/palette';
import { percent } from '../layout/format';
import { search, type Found } from '../model/search';
import { button, fill, h } from '../util/dom';
import { swatch } from './swatch';

export function searchDialog(app: App) {
  const list = h('ul', { role: 'listbox', id: 'found', 'aria-label': 'Found' });
  const input = h('input', {
    type: 'text',
    role: 'combobox',
    'aria-expanded': 'true',
    'aria-controls': 'found',
    'aria-autocomplete': 'list',
    'aria-label': 'Find a VM, vCPU, process, CR3 or cpu',
    placeholder: 'VM, vCPU, process, CR3, cpu …',
    spellcheck: 'false',
    autocomplete: 'off',
  });
  const none = h('p', { class: 'dim', role: 'status' });
  const dialog = h('dialog', { class: 'search', 'aria-label': 'Find' }, input, list, none);
  let found: Found[] = [];
  let active = 0;

  const mark = () => {
    [...list.children].forEach((el, i) => {
      el.setAttribute('aria-selected', String(i === active));
      if (i === active) el.scrollIntoView({ block: 'nearest' });
    });
    if (found.length) input.setAttribute('aria-activedescendant', `found-${active}`);
    else input.removeAttribute('aria-activedescendant');
  };
  const go = (i: number) => {
    const f = found[i];
    if (!f) return;
    dialog.close();
    app.goTo(f.key);
  };
  const draw = () => {
    found = search(input.value, app.data, app.whole, 50);
    active = 0;
    fill(
      list,
      found.map((f, i) => {
        const vm = app.data.vmOf(f.kind, f.id);
        return h(
          'li',
          { role: 'option', id: `found-${i}`, onclick: () => go(i) },
          vm >= 0 ? swatch(app.palette, app.palette.style(hueOfVm(vm), GUEST, OBSERVED, NO_HUE)) : null,
          h('b', null, app.data.fullName(f.kind, f.id)),
          f.hint ? h('span', { class: 'dim' }, ` ${f.hint}`) : null,
          h('span', { class: 'grow' }),
          h('span', { class: 'dim' }, percent(f.use)),
        );
      }),
    );
    none.textContent = found.length ? '' : 'Nothing here has that in its name.';
    mark();
  };
  input.addEventListener('input', draw);
  input.addEventListener('keydown', (e) => {
    if (e.key === 'ArrowDown') active = Math.min(found.length - 1, active + 1);
    else if (e.key === 'ArrowUp') active = Math.max(0, active - 1);
    else if (e.key === 'Enter') return go(active);
    else return;
    e.preventDefault();
    mark();
  });
  closeOutside(dialog);
  return {
    el: dialog,
    open() {
      input.value = '';
      draw();
      dialog.showModal();
      input.focus();
    },
  };
}

export function helpDialog() {
  const dialog = h('dialog', { class: 'help', 'aria-labelledby': 'help-title' });
  fill(
    dialog,
    h('h2', { id: 'help-title' }, 'Keys'),
    h(
      'div',
      { class: 'keys' },
      KEYS.map(([title, keys]) =>
        h(
          'section',
          null,
          h('h3', null, title),
          h(
            'dl',
            null,
            keys.map(([k, what]) => [
              h(
                'dt',
                null,
                k.split(/(?<=\S)  /).map((x) => h('kbd', null, x.trim())),
              ),
              h('dd', null, what),
            ]),
          ),
        ),
      ),
    ),
    h(
      'p',
      { class: 'dim' },
      'Hue is the VM; shade and texture are the state. A row that is zoomed out shows shares of each pixel’s time, not the last state drawn. The address holds the whole view: send it to show it.',
    ),
    h('p', null, h('a', { href: './licenses.txt' }, 'Licences of what this page is built with')),
    button('Close', () => dialog.close(), { class: 'primary', autofocus: true }),
  );
  closeOutside(dialog);
  return { el: dialog, open: () => dialog.showModal() };
}

function closeOutside(dialog: HTMLDialogElement): void {
  dialog.addEventListener('click', (e) => {
    if (e.target !== dialog) return;
    const b = dialog.getBoundingClientRect();
    if (e.clientX < b.left || e.clientX > b.right || e.clientY < b.top || e.clientY > b.bottom) dialog.close();
  });
}
