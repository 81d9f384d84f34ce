// Searching the record, and the two panes that the search and a run's timeline share: the list of records, and the one that was chosen.

import { get, parameters } from './api.js';
import { count, duration, field, h, plural, say, time } from './dom.js';
import { VirtualList } from './list.js';
import { recordPane } from './view_record.js';

const signs = { allow: ['✓', 'allow'], deny: ['✕', 'deny'], escalate: ['?', 'escalate'] };

function titleOf(row) {
  const names = {
    'action.decided': row.kind === 'tool_call' ? `May it call ${row.tool}?` : 'May it ask the model?',
    'action.outcome': `${row.tool}: ${row.outcome}`,
    'turn.completed': 'The model answered',
    'turn.failed': 'The model could not answer',
    'session.started': 'Session began',
    'session.snapshot': 'Its state was put on record',
    'session.ended': `Session ended: ${row.state || ''}`,
    'run.started': 'Run began',
    'run.ended': 'Run ended',
    'approval.requested': 'People were asked',
    'approval.answered': 'A person answered',
    'review.opened': 'Somebody looked at the record',
    'review.sampled': 'A sample was drawn',
    'review.annotated': 'A finding',
    'review.signed_off': 'Signed off',
    'review.answered': 'An answer to the fleet',
    'subject.erased': 'A person’s data was erased',
    'payloads.expired': 'What was kept for long enough was removed',
  };
  return names[row.type] || row.type;
}

// A row of a list; `startMs`: times count from there.
export function renderRow(row, element, startMs) {
  const refused = row.outcome && row.outcome !== 'ok';
  const [sign, cls] = signs[row.verdict] || (row.type === 'turn.completed' ? ['◆', 'turn'] : refused ? ['!', 'warn'] : ['·', 'plain']);
  element.classList.add(cls);
  const when = startMs === undefined ? time(row.ms) : `+${((row.ms - startMs) / 1000).toFixed(3)} s`;
  element.append(
    h('span', { class: 'row-sign', 'aria-hidden': 'true' }, sign),
    h('span', { class: 'row-main' }, h('span', { class: 'row-title' }, titleOf(row)), h('span', { class: 'row-gist' }, row.gist)),
    h('span', { class: 'row-side' }, h('span', {}, when), h('span', {}, [row.agent, row.session].filter(Boolean).join(' · '), row.us ? ` · ${duration(row.us)}` : '')));
}

// {element, load, setFilter}
export function recordsPane({ filter, label, startMs, order, chosen }) {
  let wanted = filter;
  const heading = h('p', { class: 'list-count', role: 'status' }, '');
  const detail = h('section', { class: 'detail', 'aria-label': 'The chosen record', tabindex: '0' }, h('p', { class: 'empty' }, 'Choose a record to see what was done, why, and its proof.'));
  const show = (row) => recordPane(detail, row.index);
  const list = new VirtualList({
    label, render: (row, element) => renderRow(row, element, startMs), onSelect: show,
    fetchPage: (offset, limit) => get('records', { ...wanted, order, offset, limit }),
    onTotal: (answer) => { heading.textContent = answer.complete ? plural(answer.total, 'record') : `${count(answer.total)} so far; ${count(answer.scanned)} of ${count(answer.of)} searched`; },
  });
  async function load() {
    let answer = await list.load();
    while (!answer.complete && list.element.isConnected) answer = await list.load();
    say(heading.textContent);
    if (chosen !== undefined) show({ index: chosen });
  }
  return {
    element: h('div', { class: 'panes' }, h('div', { class: 'pane-list' }, heading, list.element), detail),
    load,
    setFilter: (next) => {
      wanted = next;
      chosen = undefined;
      list.known = false;
      list.element.scrollTop = 0;
      return load();
    },
  };
}

export async function searchView(root, { query }) {
  const names = await get('names');
  const options = (list, all) => [h('option', { value: '' }, all), list.map((name) => h('option', { value: name }, name))];
  const inputs = {
    text: h('input', { type: 'search', value: query.text || '', autocomplete: 'off', spellcheck: 'false' }),
    agent: h('select', {}, options(names.agents, 'any agent')),
    person: h('select', {}, options(names.people, 'anybody')),
    tool: h('select', {}, options(names.tools, 'any tool or model')),
    verdict: h('select', {}, options(names.verdicts, 'any verdict')),
    policy: h('select', {}, options(names.policies, 'any policy')),
    type: h('select', {}, options(names.types, 'any type')),
    from: h('input', { type: 'text', placeholder: '2026-11-21T08:30:00Z', value: query.from || '' }),
    until: h('input', { type: 'text', placeholder: '2026-11-22T00:00:00Z', value: query.until || '' }),
  };
  for (const [name, input] of Object.entries(inputs)) if (query[name]) input.value = query[name];
  const filterOf = () => Object.fromEntries(Object.entries(inputs).map(([name, input]) => [name, input.value.trim()]));
  const pane = recordsPane({ filter: filterOf(), label: 'Records found', order: 'newest' });
  const problem = h('div', {});
  const form = h('form', { class: 'filters', role: 'search', 'aria-label': 'Search the record', onsubmit: async (event) => {
    event.preventDefault();
    history.replaceState(null, '', `#/search?${parameters(filterOf())}`);
    problem.replaceChildren();
    try {
      await pane.setFilter(filterOf());
    } catch (error) {
      problem.replaceChildren(h('div', { class: 'notice bad', role: 'alert' }, error.message));
    }
  } },
  field('Text in the record', inputs.text), field('Agent', inputs.agent), field('On behalf of', inputs.person), field('Tool or model', inputs.tool), field('Verdict', inputs.verdict),
  field('Policy', inputs.policy), field('Type', inputs.type), field('From (UTC)', inputs.from), field('Until (UTC)', inputs.until),
  h('div', { class: 'field' }, h('button', { type: 'submit', class: 'strong' }, 'Search')));
  for (const input of Object.values(inputs)) if (input.tagName === 'SELECT') input.addEventListener('change', () => form.requestSubmit());
  root.append(h('h1', {}, 'Search'), form, problem, pane.element);
  await pane.load();
}
