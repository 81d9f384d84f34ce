// One run: its figures, its records as a timeline, who delegated to whom, charts, and a check of all of it in this browser.

import { get, state } from './api.js';
import { bars, decisionSeries, tokenSeries } from './chart.js';
import { bytes, count, duration, energy, failure, h, minute, money, plural, say, short } from './dom.js';
import { recordsPane } from './view_search.js';
import { stateWords } from './view_runs.js';
import { checkMany } from './verify.js';

const groups = [['', 'All'], ['refused', 'Not allowed'], ['decisions', 'Decisions'], ['calls', 'Tool calls'], ['turns', 'Turns'], ['sessions', 'Sessions']];

function tile(name, value, note) {
  return h('div', { class: 'tile' }, h('dt', {}, name), h('dd', {}, value, note ? h('span', { class: 'soft block' }, note) : null));
}

function treeNode(session, children, open, run) {
  const totals = session.totals;
  const line = h('span', { class: 'tree-line' },
    h('a', { href: `#/run/${encodeURIComponent(run)}?session=${encodeURIComponent(session.session)}` }, session.session), ' ',
    h('span', { class: 'soft' }, `${session.agent}, ${session.state || 'running'}, ${plural(totals.turns, 'turn')}, ${plural(totals.calls, 'call')}`),
    totals.denied ? h('span', { class: 'deny-ink' }, ` ✕ ${count(totals.denied)} denied`) : null,
    totals.escalated ? h('span', { class: 'ask-ink' }, ` ? ${count(totals.escalated)} asked`) : null);
  const below = children.get(session.session) || [];
  if (below.length === 0) return h('li', {}, line);
  return h('li', {}, h('details', { open }, h('summary', {}, line), h('ul', {}, below.map((child) => treeNode(child, children, open, run)))));
}

function tree(run) {
  const byId = new Set(run.list.map((session) => session.session));
  const children = new Map();
  const roots = [];
  for (const session of run.list) {
    if (session.parent && byId.has(session.parent) && session.parent !== session.session) {
      if (!children.has(session.parent)) children.set(session.parent, []);
      children.get(session.parent).push(session);
    } else {
      roots.push(session);
    }
  }
  const shown = roots.slice(0, 500);
  return h('div', { class: 'tree' }, h('p', { class: 'soft' }, children.size ? 'Each session stands under the one that delegated to it.' : 'No session delegated to another one.'),
    h('ul', {}, shown.map((session) => treeNode(session, children, true, run.run))),
    roots.length > shown.length ? h('p', { class: 'soft' }, `and ${count(roots.length - shown.length)} more; search by session`) : null);
}

// What each agent came to. Of a turn its model's engine says what it moved, and where the machine counts, what it took.
function agents(run) {
  const cell = (text) => h('td', { class: 'number' }, text);
  const row = ({ agent, sessions, totals }) => h('tr', {}, h('th', { scope: 'row' }, agent), cell(count(sessions)), cell(count(totals.turns)), cell(count(totals.calls)),
    cell(short(totals.inputTokens)), cell(short(totals.cachedTokens)), cell(short(totals.outputTokens)), cell(totals.costMicros ? money(totals.costMicros) : '—'),
    cell(totals.movedBytes ? bytes(totals.movedBytes) : '—'), cell(totals.energyUj ? energy(totals.energyUj) : '—'),
    cell(totals.energyUj && totals.outputTokens ? energy(totals.energyUj / totals.outputTokens) : '—'));
  return h('div', { class: 'scroll', tabindex: '0', role: 'region', 'aria-label': 'Agents, table' }, h('table', { class: 'wide' },
    h('thead', {}, h('tr', {}, ['Agent', 'Sessions', 'Turns', 'Calls', 'Tokens in', 'Reused', 'Decoded', 'Cost', 'Moved', 'Energy', 'Per token decoded'].map((name) => h('th', { scope: 'col' }, name)))),
    h('tbody', {}, run.byAgent.map(row))));
}

function verifier(run) {
  const bar = h('progress', { max: 1, value: 0, 'aria-label': 'Records verified' });
  const result = h('div', { class: 'verify-result' });
  const button = h('button', { type: 'button', class: 'strong' }, 'Verify every record of this run in this browser');
  button.addEventListener('click', async () => {
    button.disabled = true;
    const began = performance.now();
    try {
      const done = await checkMany({ run: run.run }, state.session, (so, of) => { bar.value = so / of; });
      const words = `${plural(done.done, 'record')} verified: each is in the log that the key signed (${count(done.size)} records), and ${plural(done.chains, 'session chain')} have no gap. ${duration((performance.now() - began) * 1000)}.`;
      result.replaceChildren(h('div', { class: 'notice good' }, h('strong', {}, '✓ '), words));
      say(words);
    } catch (error) {
      result.replaceChildren(failure(error));
    }
    button.disabled = false;
  });
  return h('div', { class: 'card' }, h('p', {}, 'Your browser hashes each record, follows its proof to the signed root, and follows each session’s chain. The server’s word is not asked for.'), button, bar, result);
}

export async function runView(root, { id, query, record }) {
  const run = await get('run', { run: id });
  const totals = run.totals;
  root.append(
    h('p', { class: 'crumb' }, h('a', { href: '#/runs' }, 'Runs'), ' / ', run.fleet || 'run'),
    h('h1', { class: 'mono' }, run.run),
    h('dl', { class: 'tiles' },
      tile('Answerable', run.person || '—', minute(totals.firstMs)),
      tile('Sessions', count(run.sessions), stateWords(run)),
      tile('Turns', count(totals.turns), `${plural(totals.calls, 'tool call')}`),
      tile('Not allowed', count(totals.denied + totals.escalated), `${count(totals.denied)} denied, ${count(totals.escalated)} asked`),
      tile('Tokens', short(totals.outputTokens), `${short(totals.inputTokens)} in, ${short(totals.cachedTokens)} reused`),
      tile('Took', duration((totals.lastMs - totals.firstMs) * 1000), totals.costMicros ? `cost ${money(totals.costMicros)}` : plural(totals.records, 'record'))));

  const panel = h('div', { class: 'panel', role: 'tabpanel', id: 'run-panel', tabindex: '-1' });
  const tabs = [];
  const views = {
    Timeline: async () => {
      const chips = h('div', { class: 'chips', role: 'group', 'aria-label': 'Which records' });
      const filter = { run: id, session: query.session || '', group: query.group || '' };
      const pane = recordsPane({ filter, label: 'Timeline', startMs: totals.firstMs, chosen: record });
      for (const [group, name] of groups) {
        chips.append(h('button', { type: 'button', class: 'chip', 'aria-pressed': group === filter.group ? 'true' : 'false', onclick: (event) => {
          chips.querySelectorAll('.chip').forEach((chip) => chip.setAttribute('aria-pressed', 'false'));
          event.currentTarget.setAttribute('aria-pressed', 'true');
          pane.setFilter({ ...filter, group });
        } }, name));
      }
      if (filter.session) chips.append(h('a', { class: 'chip', href: `#/run/${encodeURIComponent(id)}` }, `session ${filter.session} ✕`));
      panel.replaceChildren(chips, pane.element);
      await pane.load();
    },
    Delegation: async () => panel.replaceChildren(tree(run)),
    Agents: async () => panel.replaceChildren(agents(run)),
    Charts: async () => {
      const data = await get('series', { run: id, buckets: 80 });
      panel.replaceChildren(h('div', { class: 'charts' }, bars({ title: 'Decisions', data, series: decisionSeries }), bars({ title: 'Tokens', data, series: tokenSeries }),
        bars({ title: 'Cost', data, series: [{ name: 'cost', cls: 'c-decoded', of: (bucket) => bucket.costMicros }], format: money })));
    },
    Verify: async () => panel.replaceChildren(verifier(run)),
  };
  const open = async (name) => {
    tabs.forEach((tab) => {
      const mine = tab.textContent === name;
      tab.setAttribute('aria-selected', mine ? 'true' : 'false');
      tab.tabIndex = mine ? 0 : -1;
      if (mine) panel.setAttribute('aria-labelledby', tab.id);
    });
    panel.replaceChildren(h('p', { class: 'soft' }, 'Reading the record'));
    try {
      await views[name]();
    } catch (error) {
      panel.replaceChildren(failure(error));
    }
  };
  for (const name of Object.keys(views)) {
    tabs.push(h('button', { type: 'button', role: 'tab', id: `tab-${name}`, 'aria-controls': 'run-panel', onclick: () => open(name) }, name));
  }
  const bar = h('div', { class: 'tabs', role: 'tablist', 'aria-label': 'Views of the run', onkeydown: (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const at = (tabs.indexOf(document.activeElement) + step + tabs.length) % tabs.length;
    tabs[at].focus();
    tabs[at].click();
  } }, tabs);
  root.append(bar, panel);
  await open('Timeline');
}
