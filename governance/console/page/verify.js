// RFC 6962 in the browser: leaf and node hashes, inclusion and consistency proofs, and what this browser remembers of the log. A record is
// good when its own bytes lead, by the proof, to the root in a checkpoint that the log's key signed; the server's word counts for nothing.

import { get } from './api.js';
import { bytesOf, concat, fromBase64, fromHex, openCheckpoint, parseVerifierKey, same, sha256, toBase64, toHex } from './note.js';

const half = (number) => Math.floor(number / 2);
const odd = (number) => number % 2 === 1;

export const leafHash = (text) => sha256(concat([0], bytesOf(text)));
export const nodeHash = (left, right) => sha256(concat([1], left, right));

export async function checkInclusion(index, size, leaf, proof, root) {
  if (index >= size) throw new Error('The record lies beyond the checkpoint.');
  let here = index;
  let last = size - 1;
  let hash = leaf;
  for (const sibling of proof) {
    if (last === 0) throw new Error('The inclusion proof is too long.');
    if (odd(here) || here === last) {
      hash = await nodeHash(sibling, hash);
      while (!odd(here) && here !== 0) {
        here = half(here);
        last = half(last);
      }
    } else {
      hash = await nodeHash(hash, sibling);
    }
    here = half(here);
    last = half(last);
  }
  if (last !== 0) throw new Error('The inclusion proof is too short.');
  if (!same(hash, root)) throw new Error('The inclusion proof leads to another root: this record is not in the signed log.');
}

export async function checkConsistency(oldSize, size, oldRoot, root, proof) {
  if (oldSize > size) throw new Error(`The log had ${oldSize} records and now has ${size}: it was cut off or put back.`);
  if (oldSize === 0) return;
  if (oldSize === size) {
    if (!same(oldRoot, root)) throw new Error('Two different roots for one size: the log was rewritten.');
    return;
  }
  if (proof.length === 0) throw new Error('The consistency proof is empty.');
  let here = oldSize - 1;
  let last = size - 1;
  while (odd(here)) {
    here = half(here);
    last = half(last);
  }
  const known = here === 0;
  let oldHash = known ? oldRoot : proof[0];
  let newHash = oldHash;
  for (const sibling of proof.slice(known ? 0 : 1)) {
    if (last === 0) throw new Error('The consistency proof is too long.');
    if (odd(here) || here === last) {
      oldHash = await nodeHash(sibling, oldHash);
      newHash = await nodeHash(sibling, newHash);
      while (!odd(here) && here !== 0) {
        here = half(here);
        last = half(last);
      }
    } else {
      newHash = await nodeHash(newHash, sibling);
    }
    here = half(here);
    last = half(last);
  }
  if (last !== 0) throw new Error('The consistency proof is too short.');
  if (!same(oldHash, oldRoot) || !same(newHash, root)) {
    throw new Error('The log is not a continuation of the one that this browser saw: it was rewritten or forked.');
  }
}

// ---- what this browser knows of a log: its key, and the newest checkpoint that it checked itself

const memoryName = (origin) => `ambit-log ${origin}`;
export function remembered(origin) {
  try {
    return JSON.parse(localStorage.getItem(memoryName(origin)));
  } catch {
    return null;
  }
}
export const forget = (origin) => localStorage.removeItem(memoryName(origin));

// The checkpoint, once its signature, its key and its past have been checked. `steps` hears of each check.
export async function checkLog(session, steps = () => {}) {
  const key = await parseVerifierKey(session.vkey);
  const known = remembered(key.name);
  if (known && known.vkey !== key.text) {
    throw new Error(`The log's key is not the one that this browser saw first (${known.vkey.split('+')[1]}, now ${key.text.split('+')[1]}).`);
  }
  steps(known ? 'The log’s key is the one that this browser knows.' : 'The log’s key is new to this browser; compare it with one that you got in another way.');
  if (!session.checkpoint) return { key, checkpoint: null };
  const checkpoint = await openCheckpoint(session.checkpoint, key);
  steps(`The checkpoint over ${checkpoint.size} records carries a good Ed25519 signature of ${key.name}.`);
  let newest = checkpoint;
  if (known && known.size > 0) {
    if (checkpoint.size < known.size) {
      throw new Error(`This browser saw ${known.size} records; now there are ${checkpoint.size}. The log was cut off or an old copy was put in its place.`);
    }
    const answer = await get('consistency', { old: known.size });
    newest = await openCheckpoint(answer.checkpoint, key);
    await checkConsistency(known.size, newest.size, fromBase64(known.root), newest.root, answer.proof.map(fromBase64));
    steps(`It continues the log of ${known.size} records that this browser saw on ${known.seen}: nothing of it was changed (consistency proof).`);
  }
  localStorage.setItem(memoryName(key.name), JSON.stringify({
    vkey: key.text, size: newest.size, root: toBase64(newest.root), seen: new Date().toISOString().slice(0, 16).replace('T', ' '),
  }));
  return { key, checkpoint: newest };
}

// One record as the server gave it, from its bytes to the signed root. Gives the steps that held; throws at the first that does not.
export async function checkRecord(record, session) {
  const steps = [];
  const key = await parseVerifierKey(session.vkey);
  const known = remembered(key.name);
  if (known && known.vkey !== key.text) throw new Error('The log’s key is not the one that this browser saw first.');
  const hash = await leafHash(record.leaf);
  const leaf = JSON.parse(record.leaf);
  if (leaf.index !== record.index) throw new Error('The record says of itself that it is another one.');
  steps.push(`SHA-256 of its ${bytesOf(record.leaf).length} bytes is ${toHex(hash).slice(0, 16)}…`);
  const checkpoint = await openCheckpoint(record.checkpoint, key);
  steps.push(`${key.name} signed the checkpoint over ${checkpoint.size} records (Ed25519)`);
  await checkInclusion(leaf.index, checkpoint.size, hash, record.proof.map(fromBase64), checkpoint.root);
  steps.push(`${record.proof.length} hashes lead from this record to the signed root`);
  for (const payload of record.payloads) {
    if (payload.withheld) continue;
    const bytes = payload.text !== undefined ? bytesOf(payload.text) : fromBase64(payload.base64);
    const commitment = toHex(await sha256(concat(fromHex(payload.salt), bytes)));
    if (!leaf.payloads.some((one) => one.name === payload.name && one.commitment === commitment)) {
      throw new Error(`What stands beside the record as “${payload.name}” is not what it commits to.`);
    }
    steps.push(`“${payload.name}” (${bytes.length} bytes) is what the record commits to`);
  }
  const old = remembered(key.name);
  if (old && old.size > 0 && old.size <= checkpoint.size && !(old.size === checkpoint.size && toBase64(checkpoint.root) === old.root)) {
    const answer = await get('consistency', { old: old.size });
    const newest = await openCheckpoint(answer.checkpoint, key);
    await checkConsistency(old.size, newest.size, fromBase64(old.root), newest.root, answer.proof.map(fromBase64));
    steps.push(`the log continues the one of ${old.size} records that this browser saw before`);
  }
  return steps;
}

// All records that fit, page by page: each one's inclusion, and each session's chain. `progress(done, total)`; false stops it.
export async function checkMany(query, session, progress) {
  const key = await parseVerifierKey(session.vkey);
  const heads = new Map();
  let done = 0;
  let total = 1;
  let checkpoint = null;
  while (done < total) {
    const page = await get('proofs', { ...query, offset: done, limit: 256 });
    if (page.records.length === 0) break;
    total = page.total;
    checkpoint = await openCheckpoint(page.checkpoint, key);
    for (const record of page.records) {
      const leaf = JSON.parse(record.leaf);
      const hash = await leafHash(record.leaf);
      if (leaf.index !== record.index) throw new Error(`Record ${record.index} says of itself that it is ${leaf.index}.`);
      try {
        await checkInclusion(leaf.index, checkpoint.size, hash, record.proof.map(fromBase64), checkpoint.root);
      } catch (error) {
        throw new Error(`Record ${record.index}: ${error.message}`);
      }
      const chain = JSON.stringify([leaf.run, leaf.session]);
      if (heads.has(chain) && heads.get(chain) !== leaf.previous) {
        throw new Error(`Record ${record.index} does not follow from the record before it in its session.`);
      }
      heads.set(chain, toHex(hash));
    }
    done += page.records.length;
    if (progress(done, total) === false) break;
  }
  return { done, chains: heads.size, size: checkpoint?.size || 0 };
}
