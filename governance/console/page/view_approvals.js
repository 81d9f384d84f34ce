// What the fleet asks people: one action at a time, with everything that it would do. The answer is signed in this page with the owner's own
// key, over the hash of exactly what is shown; the server only carries it.

import { get, post, state } from './api.js';
import { duration, failure, field, h, minute, pretty, say } from './dom.js';
import { bytesOf, importSigner, sha256, signNote, toHex } from './note.js';

let signer = null;

function answerText(request, answer, reason) {
  return `ambit.approval/v1\nrequest ${request.id}\naction ${request.hash}\nanswer ${answer}\nat ${Date.now()}\nreason ${JSON.stringify(reason)}\narguments ""\n`;
}

async function card(request, nowMs, reload) {
  const action = JSON.parse(request.action);
  const hash = toHex(await sha256(bytesOf(request.action)));
  const fits = hash === request.hash;
  const reason = h('textarea', { rows: 2, required: true });
  const problem = h('div', {});
  const owner = state.session.role === 'owner';
  const buttons = [['approve', 'Approve this action, once', 'strong'], ['done', 'It is done already', ''], ['deny', 'Deny', '']].map(([answer, name, cls]) =>
    h('button', { type: 'button', class: cls, 'data-answer': answer, disabled: !owner || !fits, onclick: async () => {
      problem.replaceChildren();
      try {
        if (!reason.value.trim()) throw new Error('A reason is needed; the record keeps it.');
        if (!signer) throw new Error('Load your key first: your answer is signed with it.');
        const made = await post('answer', { note: await signNote(answerText(request, answer, reason.value.trim()), signer) });
        say(`Your answer counts; it is record ${made.record}`);
        await reload();
      } catch (error) {
        problem.replaceChildren(failure(error));
      }
    } }, name));
  return h('article', { class: 'card approval' },
    h('h2', {}, h('span', { class: 'mono' }, action.tool), h('span', { class: 'soft' }, ` for ${action.onBehalfOf || '—'}`)),
    h('p', { class: 'reason' }, request.reason),
    h('dl', { class: 'facts' },
      h('dt', {}, 'Agent'), h('dd', {}, `${action.agent}, session ${action.session}`),
      h('dt', {}, 'Run'), h('dd', {}, h('a', { href: `#/run/${encodeURIComponent(action.run)}` }, action.run)),
      h('dt', {}, 'Effect'), h('dd', {}, request.destructive ? 'may destroy' : 'does not destroy', request.tainted ? ', after reading what nobody vouches for' : ''),
      h('dt', {}, 'People needed'), h('dd', {}, `${request.needed}, so far ${request.approvals}`),
      h('dt', {}, 'Expires'), h('dd', {}, `${minute(request.expiresMs)}, in ${duration(Math.max(0, request.expiresMs - nowMs) * 1000)}; no answer is a no`)),
    h('h3', {}, 'Arguments, complete'), h('pre', { class: 'code', tabindex: '0', 'aria-label': `Arguments of ${action.tool}` }, pretty(action.arguments)),
    h('details', {}, h('summary', {}, 'The text that you sign for'), h('pre', { class: 'code wrap', tabindex: '0', 'aria-label': 'Canonical text of the action' }, request.action)),
    fits ? h('p', { class: 'soft' }, '✓ This browser hashed what is shown; it is what the fleet asked about: ', h('code', { class: 'wrap' }, hash))
      : h('div', { class: 'notice bad', role: 'alert' }, 'What is shown here is not what the fleet asked about. Do not answer.'),
    owner ? [field('Your reason', reason, 'Needed for yes and for no.'), h('div', { class: 'buttons' }, buttons)] : h('p', { class: 'soft' }, 'Reviewers read; an owner answers.'),
    problem);
}

export async function approvalsView(root) {
  const list = h('div', {});
  const problem = h('div', {});
  const known = h('p', { class: 'soft', role: 'status' }, signer ? `Signing as ${signer.name}.` : 'No key is loaded.');
  const file = h('input', { type: 'file', onchange: async () => {
    problem.replaceChildren();
    try {
      signer = await importSigner(await file.files[0].text());
      known.textContent = `Signing as ${signer.name}. The key stays in this page and goes with it.`;
    } catch (error) {
      problem.replaceChildren(failure(error));
    }
  } });
  async function reload() {
    const answer = await get('approvals');
    const cards = [];
    for (const request of answer.pending) cards.push(await card(request, answer.nowMs, reload));
    list.replaceChildren(...(cards.length ? cards : [h('p', { class: 'empty' }, 'Nothing waits for an answer.')]),
      ...(answer.refused.length ? [h('details', {}, h('summary', {}, `${answer.refused.length} files in the folder do not count`), h('ul', {}, answer.refused.map((one) => h('li', {}, `${one.file}: ${one.why}`))))] : []));
  }
  root.append(h('h1', {}, 'Approvals'), h('p', { class: 'lead' }, 'Each action is answered by itself, by people, with a reason. Nothing here answers several at once.'));
  if (!state.session.approvals) {
    root.append(h('p', { class: 'empty' }, 'This console was not told where approvals are (STATE/approvers names the people who may answer).'));
    return;
  }
  if (state.session.role === 'owner') root.append(h('div', { class: 'card key' }, field('Your private key', file, 'The file that ambit approver new made. It is read here and sent nowhere.'), known, problem));
  root.append(list);
  await reload();
}
