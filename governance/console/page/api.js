// The server's answers. A session that has ended leads to the login page; every other failure is an Error with the server's own sentence.

export const state = { session: null };

let onLoggedOut = () => {};
export const whenLoggedOut = (callback) => { onLoggedOut = callback; };

async function answerOf(response) {
  let body = {};
  try {
    body = await response.json();
  } catch { /* an empty answer */ }
  if (response.status === 401) onLoggedOut();
  if (!response.ok) throw Object.assign(new Error(body.error || `The server answered ${response.status}.`), { status: response.status });
  return body;
}

export function parameters(values) {
  const given = new URLSearchParams();
  for (const [name, value] of Object.entries(values || {})) {
    if (value !== undefined && value !== null && value !== '') given.set(name, value);
  }
  return given.toString();
}

export async function get(what, values) {
  const query = parameters(values);
  return answerOf(await fetch(`api/${what}${query ? '?' + query : ''}`, { headers: { Accept: 'application/json' }, cache: 'no-store' }));
}

export async function post(what, body) {
  return answerOf(await fetch(`api/${what}`, {
    method: 'POST', headers: { 'Content-Type': 'application/json', 'X-Ambit-Console': '1' }, body: JSON.stringify(body),
  }));
}

export async function login(token) {
  return answerOf(await fetch('login', {
    method: 'POST', headers: { 'Content-Type': 'application/json', 'X-Ambit-Console': '1' }, body: JSON.stringify({ token }),
  }));
}

export const logout = () => fetch('logout', { method: 'POST' });
