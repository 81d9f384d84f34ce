// Programs that a test starts, and waiting for what they say or do. They end with this one.
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';

const children = new Set();
export const endAll = () => children.forEach((child) => child.kill('SIGTERM'));
process.on('exit', endAll);

export const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

export function start(command, words, options = {}) {
  const child = spawn(command, words, { stdio: ['ignore', 'pipe', 'pipe'], ...options });
  children.add(child);
  child.on('exit', () => children.delete(child));
  return child;
}

// What the pattern's group is in the first line of the stream in which it is found.
export function lineOf(stream, pattern) {
  return new Promise((resolve, reject) => {
    const lines = createInterface({ input: stream });
    let all = '';
    lines.on('line', (line) => {
      all += line + '\n';
      const found = line.match(pattern);
      if (found) resolve(found[1]);
    });
    lines.on('close', () => reject(new Error('it ended with: ' + all)));
  });
}

export async function until(what, holds) {
  for (let n = 0; n < 400; ++n) {
    if (await holds()) return;
    await pause(25);
  }
  throw new Error('never ' + what);
}
