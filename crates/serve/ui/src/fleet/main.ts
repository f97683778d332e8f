// The page of a fleet: its nodes, the troubled first; a node leads to its own view, a VM to where it was.

import '../style.css';
import './fleet.css';
import { severityHead } from '../panes/severity';
import type { Severity } from '../api/types';
import { percent } from '../layout/format';
import { button, fill, h } from '../util/dom';
import { type Order, shown, stays, viewOf, vmName, whereQuery } from './order';
import type { FleetAnswer, FleetNode, NodeVm, VmAnswer } from './types';

/** Nodes that are drawn; a search finds the others. */
const ROWS = 500;
/** How often it is looked again, ms. */
const AGAIN = 30_000;
const SEVERITIES: Severity[] = ['high', 'medium', 'low'];

async function ask<T>(path: string): Promise<T> {
  const response = await fetch(`api/${path}`, { credentials: 'same-origin' }).catch(() => null);
  if (!response) throw new Error('The server does not answer. Is havana view still running?');
  const body = (await response.json().catch(() => ({}))) as T & { error?: string };
  if (!response.ok) throw new Error(body.error ?? `The server answered ${response.status}.`);
  return body;
}

/** How long ago, as people say it. */
function ago(seconds: number): string {
  if (seconds < 120) return `${Math.max(0, Math.round(seconds))} s ago`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min ago`;
  return seconds < 172_800 ? `${Math.round(seconds / 3600)} h ago` : `${Math.round(seconds / 86_400)} days ago`;
}

const time = (ns: string | null) => (ns ? new Date(Number(BigInt(ns) / 1_000_000n)).toISOString().replace('T', ' ').slice(0, 19) : 'at a time that is not known');

class Page {
  private answer: FleetAnswer | null = null;
  private order: Order = 'trouble';
  private readonly facts = h('ul', { class: 'facts' });
  private readonly warnings = h('div', { class: 'fleet-warnings', role: 'status' });
  private readonly search = h('input', { type: 'search', placeholder: 'node, VM, uuid, finding', 'aria-label': 'Search nodes', oninput: () => this.draw() });
  private readonly body = h('tbody');
  private readonly more = h('p', { class: 'note' });
  private readonly where = h('section', { class: 'where', 'aria-label': 'Where a VM was', hidden: true });
  private readonly heads = new Map<Order, HTMLElement>();

  constructor(root: HTMLElement) {
    const head = (order: Order, text: string, title: string) => {
      const th = h('th', { scope: 'col' }, button(text, () => this.sort(order), { class: 'link', title }));
      this.heads.set(order, th);
      return th;
    };
    const table = h('table', null,
      h('thead', null, h('tr', null,
        head('node', 'Node', 'By name'),
        head('heard', 'Heard from', 'Those that were not heard from for longest first'),
        head('trouble', 'Found', 'Those with the most trouble first'),
        h('th', { scope: 'col' }, 'What it is'),
        head('busy', 'Busiest VMs', 'By the cpus that VMs had'),
        head('lost', 'Lost', 'By trace that was lost'),
      )),
      this.body,
    );
    fill(root, h('header', null, h('h1', null, 'HAVAna'), this.facts, h('span', { class: 'grow' }), this.search), this.warnings, this.where,
      h('main', null, table, this.more));
  }

  async read(): Promise<void> {
    try {
      this.answer = await ask<FleetAnswer>('fleet');
      this.draw();
    } catch (error) {
      fill(this.warnings, h('p', { class: 'message', role: 'alert' }, (error as Error).message));
    }
  }

  private sort(order: Order): void {
    this.order = order;
    this.draw();
  }

  private draw(): void {
    const { answer } = this;
    if (!answer) return;
    const silent = answer.nodes.filter((n) => n.silent).length;
    const older = answer.older_hours ? ` of the newest ${answer.hours} hours; ${answer.older_hours} older` : '';
    const facts = [answer.root, `${answer.nodes.length} nodes`, `${answer.captures} captures${older}`];
    fill(this.facts, facts.map((text) => h('li', null, text)), silent > 0 && h('li', { class: 'warn' }, `${silent} not heard from`));
    fill(this.warnings, answer.warnings.map((text) => h('p', { class: 'warn' }, text)));
    for (const [order, th] of this.heads) th.setAttribute('aria-sort', order === this.order ? 'descending' : 'none');
    const nodes = shown(answer.nodes, this.search.value, this.order);
    fill(this.body, nodes.slice(0, ROWS).map((node) => this.row(node, answer.now)));
    this.more.textContent = nodes.length > ROWS ? `${nodes.length - ROWS} more: search for them` : nodes.length ? '' : 'No node is called that.';
  }

  private row(node: FleetNode, now: number): HTMLElement {
    const counts = SEVERITIES.filter((s) => node.found[s]).map((s) => h('span', { class: 'count', title: `${s} findings` }, severityHead(s), node.found[s]));
    const heard = h('td', { title: `${node.captures} captures; the newest came ${new Date(node.came * 1000).toISOString()}` }, ago(now - node.came));
    if (node.silent) heard.append(' ', h('strong', { class: 'warn' }, 'silent'));
    const vms = node.vms.map((vm) => this.vm(vm));
    if (node.vm_count > node.vms.length) vms.push(h('span', { class: 'dim' }, `and ${node.vm_count - node.vms.length} more`));
    return h('tr', null,
      h('th', { scope: 'row' }, h('a', { href: viewOf(node), title: 'Its newest capture' }, node.node), h('span', { class: 'dim' }, ` ${node.cpus} cpus`)),
      heard,
      h('td', null, h('span', { class: 'counts' }, counts.length ? counts : h('span', { class: 'dim' }, 'nothing'))),
      h('td', { class: 'what' }, node.findings[0]?.title ?? ''),
      h('td', { class: 'vms' }, vms),
      h('td', { class: node.lost > 0 ? 'warn' : 'dim' }, percent(node.lost)),
    );
  }

  private vm(vm: NodeVm): HTMLElement {
    const face = `${vmName(vm)} ${vm.cpus.toFixed(2)}`;
    const query = whereQuery(vm);
    if (!query) return h('span', null, face);
    return button(face, () => void this.follow(vm, query), { class: 'chip', title: 'cpus that it had; a click tells where it was' });
  }

  private async follow(vm: NodeVm, query: string): Promise<void> {
    try {
      const { seen, more } = await ask<VmAnswer>(`vm?${query}`);
      const lines = stays(seen).map((stay) => h('li', null,
        h('a', { href: viewOf(stay.to) }, stay.node), ` from ${time(stay.from.first_ns)} to ${time(stay.to.last_ns)}, ${stay.captures} captures`));
      const by = vm.uuid ? `uuid ${vm.uuid}` : 'its clock, which it takes along';
      fill(this.where, h('h2', null, `${vmName(vm)}, by ${by}`), h('ol', null, lines), more && h('p', { class: 'note' }, 'Older captures were not looked through.'),
        button('Close', () => (this.where.hidden = true)));
    } catch (error) {
      fill(this.where, h('p', { class: 'warn' }, (error as Error).message));
    }
    this.where.hidden = false;
  }
}

/** As the system has it. */
const light = matchMedia('(prefers-color-scheme: light)');
const theme = () => (document.documentElement.dataset.theme = light.matches ? 'light' : 'dark');
light.addEventListener('change', theme);
theme();
/** The token has done its work with the first request. */
if (new URLSearchParams(location.search).has('token')) history.replaceState(null, '', location.pathname);
const page = new Page(document.getElementById('app')!);
void page.read();
setInterval(() => void page.read(), AGAIN);
