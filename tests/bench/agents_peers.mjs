// AGENTS conversations at once of TURNS turns with an OpenAI-compatible endpoint, streamed: what bench_agents does in process, over
// HTTP. Prints one line: {"turns_s", "ttft_p50_ms", "ttft_p99_ms", "tokens_s"}.
// node agents_peers.mjs URL MODEL KEY WORK      WORK: a file that bench_agents wrote
import {readFileSync} from 'node:fs';
import http from 'node:http';

const [url, model, key, path] = process.argv.slice(2);
const work = JSON.parse(readFileSync(path, 'utf8'));
// A connection a request: servers end idle ones at times of their own. No bound on sockets: with one, node hands a connection on.
const agent = new http.Agent({keepAlive: false});
const firsts = [];
let tokens = 0;

function turn(messages) {
  const body = {model, messages, stream: true, stream_options: {include_usage: true}, temperature: 0, max_tokens: work.tokens};
  if (work.schema) body.response_format = {type: 'json_schema', json_schema: {name: 'answer', strict: true, schema: work.schema}};
  const asked = performance.now();
  return new Promise((resolve, reject) => {
    const request = http.request(`${url}/v1/chat/completions`, {
      method: 'POST', agent, headers: {'content-type': 'application/json', authorization: `Bearer ${key}`},
    }, (response) => {
      let text = '', rest = '', first;
      response.setEncoding('utf8');
      response.on('data', (part) => {
        rest += part;
        const lines = rest.split('\n');
        rest = lines.pop();
        for (const line of lines) {
          if (!line.startsWith('data: ') || line === 'data: [DONE]') continue;
          const event = JSON.parse(line.slice(6));
          const piece = event.choices?.[0]?.delta?.content;
          if (piece) {
            first ??= performance.now() - asked;
            text += piece;
          }
          if (event.usage) tokens += event.usage.completion_tokens;
        }
      });
      response.on('end', () => {
        if (response.statusCode !== 200) return reject(new Error(`${response.statusCode} ${rest}`));
        firsts.push(first ?? performance.now() - asked);
        resolve(text);
      });
    });
    request.on('error', reject);
    request.end(JSON.stringify(body));
  });
}

async function converse(number) {
  const messages = [{role: 'system', content: work.system}];
  for (let n = 0; n < work.turns; n++) {
    messages.push({role: 'user', content: `${number}.${n}: ${work.user}`});
    messages.push({role: 'assistant', content: await turn(messages)});
  }
}

const began = performance.now();
await Promise.all(Array.from({length: work.agents}, (_, number) => converse(number)));
const seconds = (performance.now() - began) / 1000;
firsts.sort((a, b) => a - b);
const at = (part) => firsts[Math.min(firsts.length - 1, Math.floor(part * firsts.length))];
console.log(JSON.stringify({turns_s: work.agents * work.turns / seconds, ttft_p50_ms: at(0.5), ttft_p99_ms: at(0.99), tokens_s: tokens / seconds}));
process.exit(0);
