// TLS in front of the test agent, as a proxy ends it in front of a real one: tls_front.mjs AGENT CERTIFICATE KEY starts
// AGENT behind two TLS ports of 127.0.0.2 (HTTP and gRPC), whose URLs are in its card, and prints the first.
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { createInterface } from 'node:readline';
import { createServer } from 'node:tls';

const [agent, certificate, key] = process.argv.slice(2);
const identity = { cert: readFileSync(certificate), key: readFileSync(key), minVersion: 'TLSv1.2' };

// front(PROTOCOL): a TLS port; behind is where it leads to, told later.
async function front(protocol) {
  const door = { behind: null };
  const server = createServer({ ...identity, ALPNProtocols: [protocol] }, (outside) => {
    const inside = connect(door.behind);
    outside.pipe(inside).pipe(outside);
    for (const [one, other] of [[inside, outside], [outside, inside]]) {
      one.on('error', () => other.destroy());
      one.on('close', () => other.destroy());
    }
  });
  server.on('tlsClientError', () => {});
  await new Promise((listening) => server.listen(0, '127.0.0.2', listening));
  door.url = `https://127.0.0.2:${server.address().port}`;
  return door;
}

const http = await front('http/1.1');
const grpc = await front('h2');
const child = spawn(agent, ['--0.3', http.url, grpc.url], { stdio: ['ignore', 'pipe', 'inherit'] });
process.on('SIGTERM', () => child.kill('SIGTERM'));
child.on('exit', () => process.exit(0));
const where = (text) => ({ host: new URL(text).hostname, port: Number(new URL(text).port) });
let lines = 0;
createInterface({ input: child.stdout }).on('line', (line) => {
  (lines++ === 0 ? http : grpc).behind = where(line);
  if (lines === 2) console.log(http.url);
});
