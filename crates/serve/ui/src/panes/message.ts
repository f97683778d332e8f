// What went wrong, in one sentence, with a way to try again. The picture stays as it is meanwhile.

import { ApiError } from '../api/client';
import { button, fill, h } from '../util/dom';

export function messageBar() {
  const el = h('div', { class: 'message', role: 'alert', hidden: true });
  let retries: (() => void)[] = [];
  const hide = (): boolean => {
    const was = !el.hidden;
    el.hidden = true;
    retries = [];
    return was;
  };
  return {
    el,
    hide,
    show(e: unknown, retry: () => void) {
      retries = [...retries.slice(-7), retry];
      const text = e instanceof Error ? e.message : String(e);
      const status = e instanceof ApiError ? e.status : -1;
      const advice =
        status === 410
          ? ' What is drawn is from before; reload the page to see what is there now.'
          : status === 422
            ? ' The rest of the page still holds.'
            : ' What is drawn still holds.';
      fill(
        el,
        h('span', null, h('b', null, text), advice),
        h('span', { class: 'grow' }),
        button(
          'Retry',
          () => {
            const all = retries;
            hide();
            for (const again of all) again();
          },
          { class: 'primary' },
        ),
        button('✕', hide, { class: 'icon', 'aria-label': 'Dismiss' }),
      );
      el.hidden = false;
    },
  };
}
