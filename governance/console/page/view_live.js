// A running fleet as it records: figures of the last minute, and the newest records.

import { state } from './api.js';
import { count, h, plural, s, say } from './dom.js';
import { renderRow } from './view_search.js';

const kept = 200;
const seconds = 60;

export async function liveView(root) {
  const list = h('ol', { class: 'live-list', 'aria-label': 'The newest records' });
  const words = h('p', { class: 'lead', role: 'status' }, 'Connecting');
  const pause = h('button', { type: 'button', 'aria-pressed': 'false' }, 'Pause');
  const tiles = { records: h('dd', {}, '0'), turns: h('dd', {}, '0'), calls: h('dd', {}, '0'), refused: h('dd', {}, '0') };
  const line = s('polyline', { class: 'spark' });
  const chart = s('svg', { class: 'spark-box', viewBox: `0 0 ${seconds} 20`, role: 'img', 'aria-label': 'Records a second over the last minute', preserveAspectRatio: 'none' }, line);
  let recent = [];
  let paused = false;
  pause.addEventListener('click', () => {
    paused = !paused;
    pause.setAttribute('aria-pressed', paused ? 'true' : 'false');
    pause.textContent = paused ? 'Go on' : 'Pause';
  });
  root.append(h('h1', {}, 'Live'), words, h('div', { class: 'buttons' }, pause),
    h('dl', { class: 'tiles' }, [['Records in the last minute', tiles.records], ['Turns', tiles.turns], ['Tool calls', tiles.calls], ['Not allowed', tiles.refused]].map(([name, value]) => h('div', { class: 'tile' }, h('dt', {}, name), value))),
    chart, list);

  function figures() {
    const now = Date.now();
    recent = recent.filter((one) => now - one.seen < seconds * 1000);
    const sum = (of) => count(recent.filter(of).length);
    tiles.records.textContent = count(recent.length);
    tiles.turns.textContent = sum((one) => one.type === 'turn.completed');
    tiles.calls.textContent = sum((one) => one.type === 'action.decided' && one.kind === 'tool_call');
    tiles.refused.textContent = sum((one) => one.verdict && one.verdict !== 'allow');
    const perSecond = new Array(seconds).fill(0);
    for (const one of recent) perSecond[seconds - 1 - Math.min(seconds - 1, Math.floor((now - one.seen) / 1000))]++;
    const most = Math.max(1, ...perSecond);
    line.setAttribute('points', perSecond.map((value, i) => `${i},${(19 - (value / most) * 18).toFixed(2)}`).join(' '));
  }

  const source = new EventSource(`api/live?after=${Math.max(0, state.session.records - 20)}`);
  const timer = setInterval(figures, 1000);
  let first = true;
  source.onmessage = (event) => {
    const batch = JSON.parse(event.data);
    words.textContent = `${plural(batch.records, 'record')} in the log.`;
    for (const row of batch.rows) {
      if (!first) recent.push({ seen: Date.now(), type: row.type, kind: row.kind, verdict: row.verdict });
      if (paused) continue;
      const link = h('a', { class: 'row inline', href: `#/record/${row.index}` });
      renderRow(row, link);
      list.prepend(h('li', {}, link));
    }
    while (list.children.length > kept) list.lastChild.remove();
    if (!first && batch.rows.some((row) => row.verdict === 'deny')) say('An action was denied');
    first = false;
    figures();
  };
  source.onerror = () => { words.textContent = 'The connection was lost; trying again.'; };
  return () => {
    source.close();
    clearInterval(timer);
  };
}
