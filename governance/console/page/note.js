// C2SP signed notes in the browser: keys, signatures, checkpoints. Hashes and Ed25519 are WebCrypto's; nothing here asks the server.

const encoder = new TextEncoder();
export const bytesOf = (text) => encoder.encode(text);

export function fromBase64(text) {
  const raw = atob(text);
  return Uint8Array.from(raw, (c) => c.charCodeAt(0));
}
export const toBase64 = (bytes) => btoa(String.fromCharCode(...bytes));
export const toHex = (bytes) => Array.from(bytes, (b) => b.toString(16).padStart(2, '0')).join('');
export const fromHex = (text) => Uint8Array.from(text.match(/../g) || [], (b) => parseInt(b, 16));
export const same = (a, b) => a.length === b.length && a.every((byte, i) => byte === b[i]);

export function concat(...parts) {
  const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

export function requireCrypto() {
  if (!globalThis.crypto?.subtle) {
    throw new Error('This browser gives no WebCrypto here: open the page over https or on localhost. Nothing was verified.');
  }
}

export async function sha256(bytes) {
  requireCrypto();
  return new Uint8Array(await crypto.subtle.digest('SHA-256', bytes));
}

const keyId = async (name, kindAndKey) => (await sha256(concat(bytesOf(name), [10], kindAndKey))).slice(0, 4);

// "name+hash8+base64(1 || key)"
export async function parseVerifierKey(text) {
  const match = /^([^\s+]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/=]+)$/.exec(text.trim());
  if (!match) throw new Error('That is no public key of a log (name+hash+base64).');
  const raw = fromBase64(match[3]);
  const id = await keyId(match[1], raw);
  if (raw.length !== 33 || raw[0] !== 1 || toHex(id) !== match[2]) throw new Error('The public key does not fit its own hash.');
  return { name: match[1], id, raw: raw.slice(1), text: text.trim() };
}

export function splitNote(note) {
  const at = note.lastIndexOf('\n\n');
  if (at < 0) throw new Error('The checkpoint has no signature.');
  const signatures = note.slice(at + 2).split('\n').filter(Boolean).map((line) => {
    const match = /^— (\S+) (\S+)$/.exec(line);
    if (!match) throw new Error('A signature line is malformed.');
    const raw = fromBase64(match[2]);
    return { name: match[1], id: raw.slice(0, 4), bytes: raw.slice(4) };
  });
  return { text: note.slice(0, at + 1), signatures };
}

// The note's text, if `key` signed it.
export async function openNote(note, key) {
  const { text, signatures } = splitNote(note);
  const mine = signatures.find((one) => one.name === key.name && same(one.id, key.id));
  if (!mine) throw new Error(`The note is not signed by ${key.name}.`);
  requireCrypto();
  const imported = await crypto.subtle.importKey('raw', key.raw, { name: 'Ed25519' }, false, ['verify']);
  if (!(await crypto.subtle.verify('Ed25519', imported, mine.bytes, bytesOf(text)))) {
    throw new Error(`The signature of ${key.name} is not good.`);
  }
  return text;
}

export async function openCheckpoint(note, key) {
  const [origin, size, root] = (await openNote(note, key)).split('\n');
  if (origin !== key.name) throw new Error('The checkpoint is that of another log.');
  if (!/^(0|[1-9][0-9]{0,15})$/.test(size)) throw new Error('The checkpoint has no size.');
  return { origin, size: Number(size), root: fromBase64(root) };
}

// A person's private key, "PRIVATE+KEY+name+hash+base64(1 || seed)". It stays in this page: WebCrypto does not give it out again.
export async function importSigner(text) {
  const match = /^PRIVATE\+KEY\+([^\s+]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/=]+)\s*$/.exec(text.trim());
  if (!match) throw new Error('That file is no private key (ambit approver new makes one).');
  const raw = fromBase64(match[3]);
  if (raw.length !== 33 || raw[0] !== 1) throw new Error('The private key is malformed.');
  requireCrypto();
  const wrapped = concat(fromHex('302e020100300506032b657004220420'), raw.slice(1));
  const key = await crypto.subtle.importKey('pkcs8', wrapped, { name: 'Ed25519' }, false, ['sign']);
  raw.fill(0);
  wrapped.fill(0);
  return { name: match[1], id: fromHex(match[2]), key };
}

export async function signNote(text, signer) {
  const signature = new Uint8Array(await crypto.subtle.sign('Ed25519', signer.key, bytesOf(text)));
  return `${text}\n— ${signer.name} ${toBase64(concat(signer.id, signature))}\n`;
}
