// Elements from plain calls. Text goes in as text, never as markup, so nothing that an agent said can become a part of the page.

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else if (name === 'value' || name === 'checked' || name === 'disabled') element[name] = value;
    else element.setAttribute(name, value === true ? '' : String(value));
  }
  element.append(...children.flat(4).filter((child) => child !== undefined && child !== null && child !== false));
  return element;
}

export const h = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);
export const s = (tag, attributes, ...children) =>
  fill(document.createElementNS('http://www.w3.org/2000/svg', tag), attributes, children);

export function say(text) {
  document.getElementById('said').textContent = text;
}

const whole = new Intl.NumberFormat('en');
export const count = (number) => whole.format(number || 0);
export const plural = (number, one, many) => `${count(number)} ${number === 1 ? one : many || one + 's'}`;

// 12,345 -> "12.3k": for places where the figure is only a size.
export function short(number) {
  for (const [least, unit] of [[1e9, 'G'], [1e6, 'M'], [1e4, 'k']]) {
    if (number >= least) return (number / (unit === 'k' ? 1e3 : least)).toFixed(1).replace(/\.0$/, '') + unit;
  }
  return count(number);
}

const two = (number) => String(number).padStart(2, '0');
// UTC, as the record says it.
export function time(ms, withDay = true) {
  const at = new Date(ms);
  const clock = `${two(at.getUTCHours())}:${two(at.getUTCMinutes())}:${two(at.getUTCSeconds())}.${String(at.getUTCMilliseconds()).padStart(3, '0')}`;
  return withDay ? `${at.getUTCFullYear()}-${two(at.getUTCMonth() + 1)}-${two(at.getUTCDate())} ${clock}` : clock;
}
export const minute = (ms) => time(ms).slice(0, 16) + ' UTC';

export function duration(us) {
  if (us < 1000) return `${Math.round(us)} µs`;
  if (us < 1e6) return `${(us / 1000).toFixed(us < 1e4 ? 1 : 0)} ms`;
  if (us < 120e6) return `${(us / 1e6).toFixed(us < 1e7 ? 2 : 1)} s`;
  return `${Math.floor(us / 60e6)} min ${Math.round((us / 1e6) % 60)} s`;
}

export const money = (micros) => (micros / 1e6).toFixed(micros && micros < 1e4 ? 6 : 2);
export const energy = (uj) => (uj >= 1e6 ? `${(uj / 1e6).toFixed(1)} J` : `${(uj / 1e3).toFixed(1)} mJ`);
export const bytes = (n) => {
  const unit = n > 0 ? Math.min(4, Math.floor(Math.log10(n) / 3)) : 0;
  return `${(n / 1000 ** unit).toFixed(unit ? 1 : 0)} ${['B', 'kB', 'MB', 'GB', 'TB'][unit]}`;
};
export const brief = (id) => (id.length > 20 ? id.slice(0, 8) + '…' + id.slice(-6) : id);

// Formatted if it is JSON, else as it is.
export function pretty(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

const verdictWords = { allow: 'Allowed', deny: 'Denied', escalate: 'Asked a person' };
const verdictSigns = { allow: '✓', deny: '✕', escalate: '?' };
// Never by colour alone: a sign and a word go with it.
export function verdictBadge(verdict) {
  return h('span', { class: `badge ${verdict}` }, h('span', { 'aria-hidden': 'true' }, verdictSigns[verdict] || '•'), ' ',
    verdictWords[verdict] || verdict);
}

export function failure(error) {
  return h('div', { class: 'notice bad', role: 'alert' }, h('strong', {}, 'That did not work. '), error.message || String(error));
}

export function field(label, input, hint) {
  const id = 'field-' + field.next++;
  input.id = id;
  const note = hint ? h('span', { class: 'hint', id: id + '-hint' }, hint) : null;
  if (note) input.setAttribute('aria-describedby', note.id);
  return h('div', { class: 'field' }, h('label', { for: id }, label), input, note);
}
field.next = 1;
