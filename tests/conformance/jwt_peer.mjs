// Tokens of ours read by npm jose, and tokens of jose read by us: the good ones are taken both ways, and of the bad ones
// (forged, confused, none, crit, claims given twice, trailing bytes, another audience, expired, replayed, cut, mutated)
// we take none. jwt_peer.mjs TOOL [MUTATIONS]
import { spawnSync } from 'node:child_process';
import { createHmac, randomInt } from 'node:crypto';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';

const root = resolve('build/npm/node_modules/jose');
const jose = await import(pathToFileURL(join(root, 'dist/webapi/index.js')).href);
const tool = resolve(process.argv[2]);
const mutations = Number(process.argv[3] ?? 20000);
let bad = 0;
const fail = (what) => { if (++bad <= 20) console.error(`failed: ${what}`); };
const run = (args, input = '') => {
  const done = spawnSync(tool, args, { input, maxBuffer: 1 << 30 });
  if (done.status !== 0) throw new Error(`${args[0]} ended with ${done.status ?? done.signal}: ${done.stderr}`);
  return done.stdout.toString();
};

// Ours, read by jose.
const ours = JSON.parse(run(['issue']));
const set = jose.createLocalJWKSet(ours.jwks);
for (const token of ours.tokens) {
  try {
    const { payload } = await jose.jwtVerify(token, set, { issuer: 'ambit', audience: 'peer', algorithms: ['ES256', 'RS256'] });
    if (!payload.sub.startsWith('ada é')) fail(`subject ${payload.sub}`);
  } catch (error) { fail(`jose refuses ours: ${error.message}`); }
}
for (const key of ours.jwks.keys) {
  if (await jose.calculateJwkThumbprint(key) !== key.kid) fail('the thumbprint is another one');
}

// jose's, read by us.
const keys = {};
for (const alg of ['ES256', 'RS256']) {
  const pair = await jose.generateKeyPair(alg, { extractable: true });
  keys[alg] = { ...pair, jwk: { ...(await jose.exportJWK(pair.publicKey)), kid: `k-${alg}`, alg, use: 'sig' } };
}
const file = join(mkdtempSync(join(tmpdir(), 'ambit-jwt-')), 'jwks.json');
writeFileSync(file, JSON.stringify({ keys: Object.values(keys).map((one) => one.jwk) }));
const stranger = await jose.generateKeyPair('ES256');
let number = 0;
const now = Math.floor(Date.now() / 1000);
const claims = (more = {}) => ({ iss: 'peer', sub: 'eve', aud: 'ambit', jti: `t${++number}`, iat: now, exp: now + 300, act: { sub: 'clerk', act: { sub: 'boss' } }, ...more });
const sign = (payload, alg = 'ES256', header = {}, key) =>
  new jose.SignJWT(payload).setProtectedHeader({ alg, kid: `k-${alg}`, typ: 'JWT', ...header }).sign(key ?? keys[alg].privateKey);
const b64 = (text) => Buffer.from(text).toString('base64url');
// A compact JWS over exactly these bytes, which a library would not write.
const raw = async (header, payload, alg = 'ES256') => {
  const jws = await new jose.FlattenedSign(Buffer.from(payload)).setProtectedHeader({ alg, kid: `k-${alg}` }).sign(keys[alg].privateKey);
  if (header === undefined) return `${jws.protected}.${jws.payload}.${jws.signature}`;
  const input = `${b64(header)}.${b64(payload)}`;
  const signature = await crypto.subtle.sign({ name: 'ECDSA', hash: 'SHA-256' }, keys.ES256.privateKey, Buffer.from(input));
  return `${input}.${Buffer.from(signature).toString('base64url')}`;
};
const hmac = async (secret) => {
  const input = `${b64(JSON.stringify({ alg: 'HS256', kid: 'k-RS256', typ: 'JWT' }))}.${b64(JSON.stringify(claims()))}`;
  return `${input}.${createHmac('sha256', secret).update(input).digest('base64url')}`;
};
const none = (alg) => `${b64(JSON.stringify({ alg, kid: 'k-ES256' }))}.${b64(JSON.stringify(claims()))}.`;
const good = await sign(claims());
const [head, body, signature] = good.split('.');
const twice = JSON.stringify(claims()).replace('"sub":"eve"', '"sub":"eve","sub":"root"');
const without = (name) => { const some = claims(); delete some[name]; return some; };
const header = (more) => JSON.stringify({ alg: 'ES256', kid: 'k-ES256', ...more });
const plain = JSON.stringify(claims());

const takes = [];
for (let i = 0; i < 50; ++i) {
  takes.push(await sign(claims(), i % 2 ? 'ES256' : 'RS256'));
}
takes.push(await sign(claims({ aud: ['x', 'ambit'] })), await sign(claims(), 'ES256', { typ: 'at+jwt' }), await sign(claims({ nbf: now })));
const replayed = await sign(claims());
const refused = {
  'signed by a key we do not know': await sign(claims(), 'ES256', {}, stranger.privateKey),
  'another key id': await sign(claims(), 'ES256', { kid: 'k-other' }),
  'the key of the other algorithm': await sign(claims(), 'ES256', { kid: 'k-RS256' }),
  'the public key as a shared secret (PEM)': await hmac(await jose.exportSPKI(keys.RS256.publicKey)),
  'the public key as a shared secret (n)': await hmac(Buffer.from(keys.RS256.jwk.n, 'base64url')),
  'alg none': none('none'), 'alg None': none('None'), 'alg NONE': none('NONE'), 'no alg': none(undefined),
  'none with a signature': `${b64(header({ alg: 'none' }))}.${body}.${signature}`,
  'alg es256': await raw(header({ alg: 'es256' }), plain), 'alg EdDSA': await raw(header({ alg: 'EdDSA' }), plain),
  'alg a number': await raw(header({ alg: 5 }), plain), 'alg a list': await raw(header({ alg: ['ES256'] }), plain),
  'crit': await raw(header({ crit: ['x'], x: 1 }), plain), 'crit b64': await raw(header({ crit: ['b64'], b64: false }), plain),
  'a key in the header': await raw(header({ jwk: keys.ES256.jwk }), plain), 'a link to keys': await raw(header({ jku: 'https://evil.example' }), plain),
  'alg given twice': await raw('{"alg":"ES256","alg":"none","kid":"k-ES256"}', plain),
  'a claim given twice': await raw(undefined, twice),
  'an inner claim given twice': await raw(undefined, plain.replace('{"sub":"clerk"', '{"sub":"x","sub":"clerk"')),
  'a list as payload': await raw(undefined, '[1]'), 'a number as payload': await raw(undefined, '7'), 'no JSON': await raw(undefined, 'x'),
  'trailing bytes after the payload': await raw(undefined, `${plain} x`),
  'a trailing NUL': `${good}\0`, 'a trailing newline': `${good}\n`, 'a trailing dot': `${good}.`, 'padding': `${good}==`, 'a space before': ` ${good}`,
  'a cut signature': good.slice(0, -4), 'an empty signature': `${head}.${body}.`, 'no signature': `${head}.${body}`, 'nothing': '', 'two dots': '..',
  'the signature as DER': `${head}.${body}.${Buffer.concat([Buffer.from([0x30, 68, 2, 32]), Buffer.from(signature, 'base64url').subarray(0, 32), Buffer.from([2, 32]), Buffer.from(signature, 'base64url').subarray(32)]).toString('base64url')}`,
  'the payload of another': `${head}.${b64(JSON.stringify(claims({ sub: 'root' })))}.${signature}`,
  'another audience': await sign(claims({ aud: 'bank' })), 'a list of other audiences': await sign(claims({ aud: ['a', 'b'] })), 'an empty list': await sign(claims({ aud: [] })),
  'another issuer': await sign(claims({ iss: 'ambit' })),
  'expired': await sign(claims({ iat: now - 900, exp: now - 600 })), 'not yet valid': await sign(claims({ nbf: now + 600 })), 'from the future': await sign(claims({ iat: now + 600, exp: now + 900 })),
  'for years': await sign(claims({ exp: now + 400 * 86400 })), 'expires before it begins': await sign(claims({ exp: now - 1 })),
  'exp as text': await sign(claims({ exp: `${now + 300}` })).catch(() => raw(undefined, JSON.stringify(claims({ exp: `${now + 300}` })))),
  'exp with a fraction': await raw(undefined, JSON.stringify(claims({ exp: now + 300.5 }))), 'exp 1e99': await raw(undefined, plain.replace(`"exp":${now + 300}`, '"exp":1e99')),
  'a chain too long': await sign(claims({ act: Array.from({ length: 20 }).reduce((act) => ({ sub: 'a', act }), { sub: 'z' }) })),
  'act no object': await sign(claims({ act: 'boss' })), 'typ other': await sign(claims(), 'ES256', { typ: 'secevent+jwt' }),
  'too long': await sign(claims({ x: 'x'.repeat(10000) })),
};
for (const name of ['iss', 'sub', 'aud', 'jti', 'iat', 'exp']) refused[`without ${name}`] = await raw(undefined, JSON.stringify(without(name)));
const mutated = [];
const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.=+/ \0{}"';
for (let i = 0; i < mutations; ++i) {
  let token = good;
  for (let edits = randomInt(1, 4); edits > 0; --edits) {
    const at = randomInt(token.length);
    const c = alphabet[randomInt(alphabet.length)];
    const kind = randomInt(4);
    token = kind === 0 ? token.slice(0, at) + c + token.slice(at + 1)
      : kind === 1 ? token.slice(0, at) + token.slice(at + randomInt(1, 5))
      : kind === 2 ? token.slice(0, at) + c + token.slice(at)
      : token.slice(0, at) + token.slice(at).split('').reverse().join('');
  }
  if (token !== good) mutated.push(token);
}
// The good one last: it is used once.
const asked = [...takes, replayed, replayed, ...Object.values(refused), ...mutated, good];
const answers = run(['verify', file], asked.map((one) => JSON.stringify(one)).join('\n') + '\n').trimEnd().split('\n');
if (answers.length !== asked.length) fail(`${answers.length} answers to ${asked.length} tokens`);
const taken = (at) => answers[at]?.startsWith('accepted ');
takes.forEach((_, i) => { if (!taken(i)) fail(`good token ${i}: ${answers[i]}`); });
if (!taken(takes.length)) fail(`the first use: ${answers[takes.length]}`);
if (taken(takes.length + 1)) fail('a replayed token is taken');
Object.keys(refused).forEach((name, i) => { if (taken(takes.length + 2 + i)) fail(`taken: ${name}`); });
mutated.forEach((token, i) => { if (taken(takes.length + 2 + Object.keys(refused).length + i)) fail(`a mutated token is taken: ${token}`); });
if (!taken(asked.length - 1)) fail(`the good token: ${answers.at(-1)}`);
console.log(JSON.stringify({ oursTakenByJose: ours.tokens.length, joseTakenByUs: takes.length + 2, refused: Object.keys(refused).length + 1, mutatedRefused: mutated.length, failed: bad }));
process.exit(bad === 0 ? 0 : 1);
