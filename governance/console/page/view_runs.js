// All runs, the newest first, and what they did over time.

import { get } from './api.js';
import { bars, decisionSeries, tokenSeries } from './chart.js';
import { brief, count, duration, energy, h, minute, money, plural, short } from './dom.js';

export function stateWords(run) {
  const words = Object.entries(run.states).map(([state, number]) => `${count(number)} ${state}`).join(', ');
  return run.ended || words ? words || 'ended' : 'running';
}

function decisions(totals) {
  return [
    h('span', { class: 'figure allow-ink', title: 'allowed' }, `✓ ${count(totals.allowed)}`),
    h('span', { class: 'figure ask-ink', title: 'asked a person' }, `? ${count(totals.escalated)}`),
    h('span', { class: 'figure deny-ink', title: 'denied' }, `✕ ${count(totals.denied)}`),
  ];
}

function row(run) {
  const totals = run.totals;
  return h('tr', {},
    h('th', { scope: 'row' }, h('a', { href: `#/run/${encodeURIComponent(run.run)}`, title: run.run }, brief(run.run)), h('span', { class: 'soft block' }, run.fleet)),
    h('td', {}, minute(totals.firstMs), h('span', { class: 'soft block' }, duration((totals.lastMs - totals.firstMs) * 1000))),
    h('td', {}, run.person || '—'),
    h('td', {}, plural(run.sessions, 'session'), h('span', { class: 'soft block' }, stateWords(run))),
    h('td', { class: 'nowrap' }, decisions(totals)),
    h('td', { class: 'number' }, short(totals.outputTokens), h('span', { class: 'soft block' }, `${short(totals.inputTokens)} in`)),
    h('td', { class: 'number' }, totals.costMicros ? money(totals.costMicros) : '—', totals.energyUj ? h('span', { class: 'soft block' }, energy(totals.energyUj)) : null));
}

export async function runsView(root) {
  const body = h('tbody', {});
  const more = h('button', { type: 'button', class: 'quiet', hidden: true }, 'Show more');
  const charts = h('div', { class: 'charts' });
  const summary = h('p', { class: 'lead' }, '');
  root.append(h('h1', {}, 'Runs'), summary, charts,
    h('div', { class: 'scroll', tabindex: '0', role: 'region', 'aria-label': 'Runs, table' }, h('table', { class: 'wide' },
      h('thead', {}, h('tr', {}, ['Run', 'Began', 'Answerable', 'Sessions', 'Decisions', 'Tokens decoded', 'Cost'].map((name) => h('th', { scope: 'col' }, name)))), body)), more);
  let shown = 0;
  async function load() {
    const answer = await get('runs', { offset: shown, limit: 100 });
    answer.runs.forEach((run) => body.append(row(run)));
    shown += answer.runs.length;
    more.hidden = shown >= answer.total;
    summary.textContent = answer.total === 0 ? 'Nothing has been recorded yet. A fleet that runs appears here by itself.'
      : `${plural(answer.total, 'run')} in this record. Open one to see every action, why it was allowed or not, and its proof.`;
  }
  more.addEventListener('click', load);
  await load();
  const data = await get('series', { buckets: 80 });
  if (data.buckets.length > 0) {
    charts.append(bars({ title: 'Decisions', data, series: decisionSeries }), bars({ title: 'Tokens', data, series: tokenSeries }));
    if (data.buckets.some((bucket) => bucket.costMicros > 0)) {
      charts.append(bars({ title: 'Cost', data, series: [{ name: 'cost', cls: 'c-decoded', of: (bucket) => bucket.costMicros }], format: money }));
    }
  }
}
