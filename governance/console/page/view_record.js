// One record, answered: what was done or refused, why and under which text, with which arguments, where its tokens came from, and the proof.

import { get, post, state } from './api.js';
import { partsBar } from './chart.js';
import { bytes, count, duration, energy, failure, field, h, money, plural, pretty, say, time, verdictBadge } from './dom.js';
import { renderRow } from './view_search.js';
import { checkRecord } from './verify.js';

const findings = ['in order', 'question', 'not in order'];

function facts(pairs) {
  const shown = pairs.filter(([, value]) => value !== undefined && value !== null && value !== '');
  return h('dl', { class: 'facts' }, shown.map(([name, value]) => [h('dt', {}, name), h('dd', {}, value)]));
}

function section(title, ...children) {
  return h('section', { class: 'part' }, h('h3', {}, title), children);
}

// The policy's text with the lines of the clauses that mattered marked.
function policyText(policy) {
  const marked = new Set(policy.clauses.filter((clause) => clause.line > 0).map((clause) => clause.line - policy.line));
  return h('pre', { class: 'code', tabindex: '0', 'aria-label': `Text of policy ${policy.id}` }, policy.text.split('\n').map((line, i) =>
    (marked.has(i) ? h('mark', {}, line + '\n') : line + '\n')));
}

function clauseItem(clause) {
  return h('li', {}, h('code', {}, clause.text), clause.error ? ` could not be evaluated: ${clause.error}` : ` is ${clause.found}`,
    clause.values.length ? h('span', { class: 'soft block' }, clause.values.map(([name, value], i) => [i ? ', ' : '', h('code', {}, name), ' was ', h('code', {}, value)])) : null);
}

function policyCard(policy) {
  const outcome = { applies: policy.effect === 'forbid' ? 'forbids it' : 'permits it', scope: 'is about something else', condition: 'does not hold here', failed: 'could not be evaluated' }[policy.outcome];
  return h('article', { class: `policy ${policy.determined ? 'determined' : ''}` },
    h('header', {}, h('strong', {}, policy.id), ' ', h('span', { class: 'soft' }, `${policy.effect}, ${outcome}`),
      policy.determined ? h('span', { class: 'tag' }, 'determined the decision') : null,
      h('span', { class: 'soft block' }, policy.source ? `${policy.source.split('/').pop()}, line ${policy.line}` : '')),
    policyText(policy), policy.clauses.length ? h('ul', { class: 'clauses' }, policy.clauses.map(clauseItem)) : null);
}

function why(record, body) {
  const explanation = record.explanation;
  const parts = [h('p', { class: 'reason' }, body.reason || 'No reason was recorded.')];
  if (!explanation) {
    parts.push(facts([['Policies', (body.policies || []).join(', ') || 'none applied'], ['Set of policies', h('code', { class: 'wrap' }, body.policySet || '—')]]),
      h('p', { class: 'soft' }, 'The texts of this set are not in the record; start the console with --policy-file to see them. They are shown only if their hash is the recorded one.'));
    return section('Why', parts);
  }
  const mattered = explanation.policies.filter((policy) => policy.determined);
  const others = explanation.policies.filter((policy) => !policy.determined);
  parts.push(mattered.length ? mattered.map(policyCard) : h('p', {}, 'No policy permits this, and what is not permitted is denied.'));
  if (others.length) parts.push(h('details', {}, h('summary', {}, `${plural(others.length, 'other policy', 'other policies')} of the same set`), others.map(policyCard)));
  parts.push(h('p', { class: 'soft' }, explanation.same ? 'Decided again just now from the recorded action and these texts: the same. ' : `Decided again just now with what is recorded, it is: ${explanation.verdict}. A decision can also rest on a budget or on a fact about the agent that is not in this record. `,
    'The texts hash to the set that was recorded: ', h('code', { class: 'wrap' }, explanation.policySet)));
  return section('Why', parts);
}

const trustWords = { user: 'a person said it', trusted: 'the operator vouches for it', unknown: 'found nowhere: made up or worked out', untrusted: 'read where nobody vouches for it' };

// Where each argument was read: how far it can be believed.
function origins(body) {
  if (!body.origins?.length) return null;
  return section('Where the arguments come from', h('ul', { class: 'clauses' }, body.origins.map((origin) => h('li', {}, h('code', {}, origin.argument), ` ${trustWords[origin.trust] || origin.trust}`,
    origin.sources.length ? h('span', { class: 'soft' }, ` (${origin.sources.join(', ')}${origin.weak ? '; short, so it may be chance' : ''})`) : null))));
}

function limits(body) {
  const left = body.left;
  if (!left) return null;
  return section('Limits before it', facts([['Turns left', count(left.turns)], ['Tool calls left', count(left.toolCalls)], ['Tokens left', count(left.tokens)], ['Time left', duration(left.wallMs * 1000)]]));
}

function provenance(body) {
  const usage = body.usage;
  if (!usage) return null;
  const drafted = usage.draftedTokens || 0;
  const forced = usage.forcedTokens || 0;
  const energyUj = usage.energyUj || 0;
  return section('Where the tokens came from',
    partsBar({ title: `${plural(usage.inputTokens, 'token')} in`, parts: [
      { name: 'reused', cls: 'c-reused', value: usage.cachedTokens }, { name: 'computed', cls: 'c-read', value: usage.inputTokens - usage.cachedTokens }] }),
    partsBar({ title: `${plural(usage.outputTokens, 'token')} out`, parts: [
      { name: 'decoded one by one', cls: 'c-decoded', value: Math.max(0, usage.outputTokens - drafted - forced) },
      { name: 'drafted and accepted', cls: 'c-drafted', value: drafted }, { name: 'forced by the grammar', cls: 'c-forced', value: forced }] }),
    partsBar({ title: 'Time', format: duration, parts: [
      { name: 'waited', cls: 'c-none', value: usage.queueUs }, { name: 'prefill', cls: 'c-read', value: usage.prefillUs }, { name: 'decode', cls: 'c-decoded', value: usage.decodeUs }] }),
    facts([['Model', h('code', { class: 'wrap' }, body.model || '—')], ['Device', body.device], ['Energy', energyUj ? energy(energyUj) : undefined], ['Moved', usage.movedBytes ? bytes(usage.movedBytes) : undefined],
      ['Cost', body.costMicros ? money(body.costMicros) : undefined], ['Finished by', body.finish]]));
}

const payloadNames = { arguments: 'Arguments, complete', result: 'Result', message: 'What the model said', prompt: 'Prompt', instructions: 'Instructions', answer: 'Answer', note: 'Note', reason: 'Reason', policies: 'Policies' };

function payloads(record) {
  const shown = record.payloads.map((payload) => section(payloadNames[payload.name] || payload.name,
    payload.withheld ? h('p', { class: 'soft' }, payload.withheld)
      : h('pre', { class: 'code', tabindex: '0', 'aria-label': payloadNames[payload.name] || payload.name }, payload.text !== undefined ? pretty(payload.text) || '(empty)' : `(not text) ${payload.base64}`)));
  if (record.erased.length) shown.push(h('div', { class: 'notice' }, `Erased on record, and proved to have been there: ${record.erased.join(', ')}`));
  if (record.expired.length) shown.push(h('div', { class: 'notice' }, `Kept for as long as was said, then removed on record, and proved to have been there: ${record.expired.join(', ')}`));
  return shown;
}

function proof(record) {
  const steps = h('ol', { class: 'steps' });
  const result = h('div', { role: 'status' });
  const button = h('button', { type: 'button', class: 'strong', id: 'verify' }, 'Verify in this browser');
  button.addEventListener('click', async () => {
    button.disabled = true;
    steps.replaceChildren();
    try {
      (await checkRecord(record, state.session)).forEach((step) => steps.append(h('li', {}, step)));
      result.replaceChildren(h('div', { class: 'notice good', id: 'verified' }, h('strong', {}, '✓ Verified. '), 'This record is in the log, as it stands here.'));
    } catch (error) {
      result.replaceChildren(h('div', { class: 'notice bad' }, h('strong', {}, '✕ Not verified. '), error.message));
    }
    button.disabled = false;
  });
  return section('Proof', h('p', { class: 'soft' }, 'Checked here with WebCrypto: the record’s hash, its path to the root, the signature over the root.'), button, result, steps,
    h('details', {}, h('summary', {}, 'The record as it is hashed'), h('pre', { class: 'code wrap', tabindex: '0', 'aria-label': 'The record as it is hashed' }, record.leaf)),
    facts([['Leaf hash', h('code', { class: 'wrap' }, record.hash)]]));
}

export function annotationItem(annotation, onSigned) {
  const signed = annotation.signedOff;
  const reason = h('textarea', { rows: 2, required: true });
  const problem = h('div', {});
  const form = h('form', { class: 'inline-form', onsubmit: async (event) => {
    event.preventDefault();
    try {
      await post('sign-off', { annotation: annotation.record, reason: reason.value });
      say('Signed off; it is on record');
      onSigned();
    } catch (error) {
      problem.replaceChildren(failure(error));
    }
  } }, field('You agree because', reason), h('button', { type: 'submit' }, 'Sign off'), problem);
  return h('article', { class: 'annotation' },
    h('header', {}, h('span', { class: `tag ${annotation.finding === 'in order' ? 'good' : annotation.finding === 'question' ? 'ask' : 'bad'}` }, annotation.finding), ' ', h('strong', {}, annotation.by),
      h('span', { class: 'soft' }, ` on `), h('a', { href: `#/record/${annotation.index}` }, `record ${annotation.index}`), h('span', { class: 'soft' }, `, ${time(annotation.ms)} UTC, kept as record ${annotation.record}`)),
    h('p', {}, annotation.note),
    signed ? h('p', { class: 'signed' }, `✓ Signed off by ${signed.by}: ${signed.reason}`, h('span', { class: 'soft' }, ` (record ${signed.record})`))
      : annotation.by === state.session.person ? h('p', { class: 'soft' }, 'Waits for a second person to sign it off.') : form);
}

function reviewPart(record, redraw) {
  const list = h('div', {});
  const finding = h('select', {}, findings.map((name) => h('option', { value: name }, name)));
  const note = h('textarea', { rows: 3, required: true });
  const problem = h('div', {});
  async function load() {
    const reviews = await get('reviews');
    list.replaceChildren(...reviews.annotations.filter((one) => one.index === record.index).map((one) => annotationItem(one, load)));
  }
  load().catch((error) => problem.replaceChildren(failure(error)));
  const form = h('form', { onsubmit: async (event) => {
    event.preventDefault();
    try {
      const made = await post('annotation', { index: record.index, leafHash: record.hash, finding: finding.value, note: note.value });
      note.value = '';
      say(`Noted, as record ${made.record}`);
      await load();
      if (redraw) redraw();
    } catch (error) {
      problem.replaceChildren(failure(error));
    }
  } }, field('Finding', finding), field('Note', note, 'It becomes a record of its own, under your name. A second person signs it off.'), h('button', { type: 'submit' }, 'Put on record'), problem);
  return section('Review', list, form);
}

const headline = (record, leaf, body) => {
  if (leaf.type === 'action.decided') return [verdictBadge(record.verdict), ' ', h('span', { class: 'mono' }, record.tool)];
  if (leaf.type === 'action.outcome') return [`${body.tool}: ${body.outcome}`];
  if (leaf.type === 'turn.completed') return ['The model answered'];
  if (leaf.type === 'turn.failed') return ['The model could not answer'];
  return [leaf.type];
};

let asked = 0;
export async function recordPane(pane, index, onReviewed) {
  const mine = ++asked;
  pane.setAttribute('aria-busy', 'true');
  try {
    const record = await get('record', { index });
    if (mine !== asked) return;
    const leaf = JSON.parse(record.leaf);
    const body = leaf.body;
    const links = record.links || [];
    pane.replaceChildren(
      h('h2', { class: 'headline' }, headline(record, leaf, body)),
      facts([['Who', [leaf.agent || '—', record.person ? ` for ${record.person}` : '']], ['When', `${time(record.ms)} UTC`],
        ['Where', [leaf.run && leaf.run !== 'review' ? h('a', { href: `#/run/${encodeURIComponent(leaf.run)}${leaf.session ? '?session=' + encodeURIComponent(leaf.session) : ''}` }, leaf.session || leaf.run) : leaf.session || 'the log itself', ', record ', h('a', { href: `#/record/${index}` }, String(index))]],
        ['Read before', record.tainted ? 'something that nobody vouches for (tainted)' : undefined],
        ['Detail', body.detail], ['Took', record.us ? duration(record.us) : undefined], ['Tool’s definition', body.toolDigest ? h('code', { class: 'wrap' }, body.toolDigest) : undefined], ['State', body.state], ['Error', body.error], ['Delegated by', (body.chain || []).join(' → ')], ['Denied by', body.bound ? `the ${body.bound}, though the policies allow it` : undefined], ['Policies that only watch say', body.would ? `${body.would}: ${body.wouldReason}` : undefined], ['Answered by', body.by], ['Answer', body.answer]]),
      leaf.type === 'action.decided' ? why(record, body) : '',
      ...payloads(record), origins(body) || '', limits(body) || '', provenance(body) || '',
      links.length ? section('Of the same action', h('ul', { class: 'links' }, links.map((link) => {
        const item = h('a', { class: 'row inline', href: `#/record/${link.index}`, onclick: (event) => {
          event.preventDefault();
          recordPane(pane, link.index, onReviewed);
        } });
        renderRow(link, item);
        return h('li', {}, item);
      }))) : '',
      proof(record), reviewPart(record, onReviewed));
    pane.scrollTop = 0;
  } catch (error) {
    if (mine === asked) pane.replaceChildren(failure(error));
  }
  pane.removeAttribute('aria-busy');
}

export async function recordView(root, { id }) {
  const pane = h('section', { class: 'detail alone', 'aria-label': 'The record' });
  root.append(h('p', { class: 'crumb' }, h('a', { href: '#/search' }, 'Search'), ` / record ${id}`), h('h1', { class: 'hidden' }, `Record ${id}`), pane);
  await recordPane(pane, Number(id));
}
