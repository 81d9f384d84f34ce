// Which view the address names, who is logged in, the keyboard, and the badge that says whether this browser trusts the log.

import { get, login, logout, state, whenLoggedOut } from './api.js';
import { count, failure, field, h, say } from './dom.js';
import { approvalsView } from './view_approvals.js';
import { liveView } from './view_live.js';
import { recordView } from './view_record.js';
import { reviewView } from './view_review.js';
import { runView } from './view_run.js';
import { runsView } from './view_runs.js';
import { searchView } from './view_search.js';
import { checkLog, forget, remembered } from './verify.js';

const main = document.getElementById('main');
const views = { runs: runsView, run: runView, record: recordView, search: searchView, review: reviewView, approvals: approvalsView, live: liveView, trust: trustView };
let leave = null;
let turn = 0;

function place() {
  const [path, text] = location.hash.replace(/^#\/?/, '').split('?');
  const parts = path.split('/').map(decodeURIComponent);
  return { view: parts[0] || 'runs', id: parts[1], record: parts[2] === 'record' ? Number(parts[3]) : undefined, query: Object.fromEntries(new URLSearchParams(text || '')) };
}

async function show() {
  const mine = ++turn;
  if (leave) leave();
  leave = null;
  if (!state.session) {
    try {
      state.session = await get('session');
    } catch (error) {
      if (mine === turn) loginView(error.status === 401 ? null : error);
      return;
    }
    greet();
  }
  const where = place();
  const view = views[where.view] || runsView;
  const root = h('div', { class: 'view' });
  main.replaceChildren(root);
  document.querySelectorAll('#rail a').forEach((link) => {
    const here = link.getAttribute('href') === `#/${where.view === 'run' ? 'runs' : where.view === 'record' ? 'search' : where.view}`;
    if (here) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
  });
  try {
    const left = await view(root, where);
    if (mine === turn) leave = left || null;
    else if (left) left();
  } catch (error) {
    root.append(failure(error));
  }
  const title = root.querySelector('h1')?.textContent || 'The record';
  document.title = `${title} · Ambit`;
  if (mine === turn && document.activeElement === document.body) main.focus({ preventScroll: true });
}

function loginView(error) {
  const token = h('input', { type: 'password', autocomplete: 'off', required: true });
  const problem = h('div', {}, error ? failure(error) : null);
  main.replaceChildren(h('div', { class: 'view login' }, h('h1', {}, 'Log in'), h('p', { class: 'lead' }, 'Use the link that the program printed for you; it works once. Or give your token.'),
    h('form', { onsubmit: async (event) => {
      event.preventDefault();
      try {
        await login(token.value);
        if (location.hash === '#/login') location.hash = '#/runs';
        show();
      } catch (failed) {
        problem.replaceChildren(failure(failed));
      }
    } }, field('Token', token), h('button', { type: 'submit', class: 'strong' }, 'Log in'), problem)));
  token.focus();
}

function badge(kind, text) {
  const link = document.getElementById('trust');
  link.className = `trust ${kind}`;
  document.getElementById('trust-text').textContent = text;
}

async function greet() {
  document.getElementById('who').textContent = `${state.session.person}, ${state.session.role}`;
  document.getElementById('logout').hidden = false;
  try {
    const { checkpoint } = await checkLog(state.session);
    badge('good', checkpoint ? `${count(checkpoint.size)} records, signed and consistent` : 'The log is empty');
  } catch (error) {
    badge('bad', 'The record does not check out');
    say(error.message);
  }
  if (!state.session.approvals) return;
  const waiting = (await get('approvals')).pending.length;
  const mark = document.getElementById('approvals-count');
  mark.hidden = waiting === 0;
  mark.textContent = waiting;
}

async function trustView(root) {
  const steps = h('ol', { class: 'steps' });
  const result = h('div', {});
  const old = remembered(state.session.origin);
  root.append(h('h1', {}, 'Proof'), h('p', { class: 'lead' }, 'What this browser checked by itself, and what it remembers so that nobody can show it another history.'),
    h('div', { class: 'card' }, result, steps),
    h('dl', { class: 'facts' }, h('dt', {}, 'Log'), h('dd', {}, h('code', { class: 'wrap' }, state.session.origin)), h('dt', {}, 'Key'), h('dd', {}, h('code', { class: 'wrap' }, state.session.vkey)),
      h('dt', {}, 'Seen before'), h('dd', {}, old ? `${count(old.size)} records on ${old.seen} UTC` : 'never')),
    h('h2', {}, 'The signed checkpoint'), h('pre', { class: 'code wrap', tabindex: '0', 'aria-label': 'The signed checkpoint' }, state.session.checkpoint || '(empty log)'),
    h('p', { class: 'soft' }, 'The same can be checked without this program: ', h('code', {}, 'ambit audit bundle'), ' writes the records with proofs that other tools verify (C2SP tlog-proof).'),
    h('button', { type: 'button', class: 'quiet', onclick: () => {
      forget(state.session.origin);
      say('Forgotten');
      show();
    } }, 'Forget what this browser knows of this log'));
  try {
    state.session = await get('session');
    const { checkpoint } = await checkLog(state.session, (step) => steps.append(h('li', {}, step)));
    result.replaceChildren(h('div', { class: 'notice good' }, h('strong', {}, '✓ '), checkpoint ? `${count(checkpoint.size)} records stand as they were signed.` : 'The log is empty.'));
  } catch (error) {
    result.replaceChildren(h('div', { class: 'notice bad', role: 'alert' }, h('strong', {}, '✕ '), error.message));
  }
}

function setTheme(theme) {
  if (theme) document.documentElement.dataset.theme = theme;
  else delete document.documentElement.dataset.theme;
  const dark = theme ? theme === 'dark' : matchMedia('(prefers-color-scheme: dark)').matches;
  document.getElementById('theme').textContent = dark ? 'Light' : 'Dark';
}

document.getElementById('theme').addEventListener('click', () => {
  const dark = getComputedStyle(document.documentElement).getPropertyValue('--is-dark').trim() === '1';
  localStorage.setItem('ambit-theme', dark ? 'light' : 'dark');
  setTheme(dark ? 'light' : 'dark');
});
document.getElementById('logout').addEventListener('click', async () => {
  await logout();
  state.session = null;
  document.getElementById('logout').hidden = true;
  document.getElementById('who').textContent = '';
  show();
});
document.getElementById('skip').addEventListener('click', (event) => {
  event.preventDefault();
  main.focus();
});
document.addEventListener('keydown', (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || /^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName)) return;
  if (event.key === '/') {
    event.preventDefault();
    location.hash = '#/search';
  } else if (event.key === 'v') {
    document.getElementById('verify')?.click();
  }
});
whenLoggedOut(() => { state.session = null; });
window.addEventListener('hashchange', show);
setTheme(localStorage.getItem('ambit-theme'));
show();
