// sdk_signature.cjs: reads a line {"card", "jwks"} from its standard input, checks the card's signature as the official SDK
// does, and prints {"verified", "refused": what it says of a changed card, "card": one that it signed itself, "jwks"}.
// The SDK speaks on the console; only the answer belongs on standard output.
console.log = console.info = console.warn = console.debug = console.error;
const { sdk } = require('./sdk.cjs');
const { generateKeyPairSync } = require('node:crypto');

async function main(line) {
  const { card, jwks } = JSON.parse(line);
  const verify = sdk.verifyAgentCardSignature(async (kid) => jwks.keys.find((key) => key.kid === kid));
  const out = { verified: false };
  try {
    await verify(sdk.AgentCard.fromJSON(card));
    out.verified = true;
  } catch (error) {
    out.why = String(error.message);
  }
  try {
    await verify(sdk.AgentCard.fromJSON({ ...card, description: 'something else' }));
    out.refused = '';
  } catch (error) {
    out.refused = String(error.message);
  }
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const sign = sdk.generateAgentCardSignature(privateKey, { alg: 'ES256', kid: 'sdk-key', typ: 'JOSE' });
  const mine = sdk.AgentCard.fromJSON({ ...card, signatures: [], name: 'signed by the sdk', documentationUrl: 'https://example.com/ü' });
  out.card = sdk.AgentCard.toJSON(await sign(mine));
  out.jwks = { keys: [{ ...publicKey.export({ format: 'jwk' }), kid: 'sdk-key', alg: 'ES256', use: 'sig' }] };
  process.stdout.write(JSON.stringify(out) + '\n');
}

let text = '';
process.stdin.on('data', (part) => {
  text += part;
  if (text.includes('\n')) main(text.slice(0, text.indexOf('\n'))).then(() => process.exit(0), (error) => {
    process.stdout.write(JSON.stringify({ verified: false, why: String(error.stack) }) + '\n');
    process.exit(1);
  });
});
