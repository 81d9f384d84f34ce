// A server of stdio on a Unix socket: `on_socket.mjs PATH COMMAND [WORD...]`. Everybody who connects gets a process of it.
import { spawn } from 'node:child_process';
import { rmSync } from 'node:fs';
import { createServer } from 'node:net';

const [, , path, command, ...words] = process.argv;
const living = new Set();
process.on('SIGTERM', () => {
  for (const server of living) server.kill('SIGKILL');
  rmSync(path, { force: true });
  process.exit(0);
});
createServer((client) => {
  const server = spawn(command, words, { stdio: ['pipe', 'pipe', 'ignore'] });
  living.add(server);
  client.pipe(server.stdin).on('error', () => client.destroy());
  server.stdout.pipe(client).on('error', () => server.kill('SIGKILL'));
  server.on('exit', () => {
    living.delete(server);
    client.destroy();
  });
  client.on('close', () => server.kill('SIGKILL'));
}).listen(path, () => console.log('listens'));
