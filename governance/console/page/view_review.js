// The reviewer's work: samples drawn from a seed that anyone can draw again, the queue that follows from them, findings and sign-offs.

import { get, post, state } from './api.js';
import { count, failure, field, h, minute, plural, say } from './dom.js';
import { annotationItem, recordPane } from './view_record.js';

const kinds = [['refused', 'what was not allowed'], ['calls', 'tool calls and their outcomes'], ['decisions', 'all decisions'], ['turns', 'turns of the model'], ['', 'all records']];

function queueOf(sample, annotations) {
  return sample.indexes.map((index) => ({ index, found: annotations.filter((one) => one.index === index) }));
}

function status(item) {
  if (item.found.some((one) => one.signedOff)) return ['✓ signed off', 'good'];
  if (item.found.length) return ['noted, waits for a second person', 'ask'];
  return ['to be read', ''];
}

export async function reviewView(root) {
  const detail = h('section', { class: 'detail', 'aria-label': 'The record under review', tabindex: '0' }, h('p', { class: 'empty' }, 'Draw a sample, then open its records one after another.'));
  const queue = h('div', { class: 'queue' });
  const notes = h('div', {});
  const problem = h('div', {});
  const seed = h('input', { type: 'text', required: true, autocomplete: 'off', value: '' });
  const size = h('input', { type: 'number', min: 1, max: 1000, value: '20', required: true });
  const kind = h('select', {}, kinds.map(([value, name]) => h('option', { value }, name)));

  async function load() {
    const reviews = await get('reviews');
    const samples = reviews.samples.slice().reverse();
    queue.replaceChildren(...(samples.length ? samples.map((sample) => {
      const items = queueOf(sample, reviews.annotations);
      const done = items.filter((item) => item.found.length).length;
      return h('details', { class: 'sample', open: sample === samples[0] },
        h('summary', {}, h('strong', {}, `Seed “${sample.seed}”`), h('span', { class: 'soft' }, ` ${plural(items.length, 'record')} of the first ${count(sample.size)}, by ${sample.by}, ${minute(sample.ms)}; ${done} read`)),
        h('progress', { max: items.length, value: done, 'aria-label': `${done} of ${items.length} read` }),
        h('ul', { class: 'queue-list' }, items.map((item) => {
          const [words, cls] = status(item);
          return h('li', {}, h('button', { type: 'button', class: 'link', onclick: () => recordPane(detail, item.index, load) }, `Record ${item.index}`), ' ', h('span', { class: `tag ${cls}` }, words));
        })));
    }) : [h('p', { class: 'soft' }, 'No sample has been drawn yet.')]));
    notes.replaceChildren(...(reviews.annotations.length ? reviews.annotations.slice().reverse().map((one) => annotationItem(one, load)) : [h('p', { class: 'soft' }, 'Nothing has been noted yet.')]));
  }

  const form = h('form', { class: 'filters', 'aria-label': 'Draw a sample', onsubmit: async (event) => {
    event.preventDefault();
    problem.replaceChildren();
    try {
      const made = await post('sample', { seed: seed.value, count: Number(size.value), filter: { group: kind.value } });
      say(`The sample is on record, as record ${made.record}`);
      await load();
    } catch (error) {
      problem.replaceChildren(failure(error));
    }
  } }, field('Seed', seed, 'Any words. The same seed over the same record gives the same sample to everybody.'), field('How many', size), field('Of', kind),
  h('div', { class: 'field' }, h('button', { type: 'submit', class: 'strong' }, 'Draw')));
  root.append(h('h1', {}, 'Review'),
    h('p', { class: 'lead' }, `You are ${state.session.person}. What you draw, note and sign off becomes part of the record.`),
    form, problem,
    h('div', { class: 'panes review' }, h('div', { class: 'pane-list scrolls', tabindex: '0', role: 'region', 'aria-label': 'Samples and findings' }, h('h2', {}, 'Samples'), queue, h('h2', {}, 'Findings'), notes), detail));
  await load();
}
