// Official clients against our servers: `clients.mjs NPM AMBIT EVERYTHING NODE FOLDER`. SDK v1, SDK v2 in its three modes and the
// inspector's command line, over pipes and over HTTP, against the everything server, `ambit mcp serve` and `ambit serve`. A line of
// JSON a client and server, and FOLDER/clients.md. NODE is one that the inspector runs on.
import { createRequire } from 'node:module';
import { execFile, spawn } from 'node:child_process';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import assert from 'node:assert/strict';

const [, , npm, ambit, everything, node, folder] = process.argv;
const from = createRequire(npm + '/package.json');
const fleet = 'examples/1-incident-desk/fleet.json';
const token = 'clients-token-0123456789';
const bearer = { Authorization: 'Bearer ' + token };
const inspector = npm + '/node_modules/@modelcontextprotocol/inspector/clients/launcher/build/index.js';
const until = async (what, holds) => {
  for (let n = 0; n < 200; ++n) {
    if (await holds()) return;
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
  throw new Error('never ' + what);
};
function lineOf(stream, pattern) {
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

// ---- the servers

rmSync(folder, { recursive: true, force: true });
mkdirSync(folder, { recursive: true });
const children = [];
function start(command, words) {
  const child = spawn(command, words, { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, AMBIT_TOKEN: token } });
  children.push(child);
  return child;
}
const everythingUrl = await lineOf(start(everything, ['127.0.0.1:0']).stdout, /^(http.*)/);
const agentUrl = await lineOf(start(ambit, ['serve', fleet, '--listen', '127.0.0.1:0', '--state', folder + '/served']).stderr,
  /agent clerk at (\S+)/) + '/mcp';
let lives = 0;
const targets = {
  'everything server, stdio': () => ({ command: everything, args: ['stdio'], all: true }),
  'everything server, HTTP': () => ({ url: everythingUrl, all: true }),
  'ambit mcp serve, stdio': () => ({ command: ambit, args: ['mcp', 'serve', 'clerk', '--fleet', fleet, '--state', `${folder}/life-${++lives}`,
    '--principal', 'ann'] }),
  'ambit serve, HTTP': () => ({ url: agentUrl }),
};

// ---- the SDKs behind one face

async function sdk1(target) {
  const { Client } = from('@modelcontextprotocol/sdk/client/index.js');
  const { StdioClientTransport } = from('@modelcontextprotocol/sdk/client/stdio.js');
  const { StreamableHTTPClientTransport } = from('@modelcontextprotocol/sdk/client/streamableHttp.js');
  const types = from('@modelcontextprotocol/sdk/types.js');
  const client = new Client({ name: 'sdk-v1', version: '1' }, { capabilities: { elicitation: {}, sampling: {}, roots: {} } });
  const heard = { changed: 0 };
  client.setRequestHandler(types.ElicitRequestSchema, () => ({ action: 'accept', content: { username: 'ann', email: 'ann@example.com', name: 'Ann' } }));
  client.setRequestHandler(types.CreateMessageRequestSchema, () => ({ model: 'none', role: 'assistant', content: { type: 'text', text: 'forty-two' } }));
  client.setNotificationHandler(types.ToolListChangedNotificationSchema, () => { ++heard.changed; });
  await client.connect(target.url ? new StreamableHTTPClientTransport(new URL(target.url), { requestInit: { headers: bearer } })
    : new StdioClientTransport({ command: target.command, args: target.args, env: process.env, stderr: 'ignore' }));
  return { client, heard, call: (name, args = {}, options = {}) => client.callTool({ name, arguments: args }, undefined, options),
    listen: async () => {}, era: 'legacy' };
}

const sdk2 = (mode) => async (target) => {
  const { Client, StreamableHTTPClientTransport } = from('@modelcontextprotocol/client');
  const { StdioClientTransport } = from('@modelcontextprotocol/client/stdio');
  const client = new Client({ name: 'sdk-v2', version: '1' }, { capabilities: { elicitation: {}, sampling: {}, roots: {} },
    versionNegotiation: { mode: mode === 'modern' ? { pin: '2026-07-28' } : mode } });
  const heard = { changed: 0 };
  client.setRequestHandler('elicitation/create', () => ({ action: 'accept', content: { username: 'ann', email: 'ann@example.com', name: 'Ann' } }));
  client.setRequestHandler('sampling/createMessage', () => ({ model: 'none', role: 'assistant', content: { type: 'text', text: 'forty-two' } }));
  client.setNotificationHandler('notifications/tools/list_changed', () => { ++heard.changed; });
  await client.connect(target.url ? new StreamableHTTPClientTransport(new URL(target.url), { requestInit: { headers: bearer } })
    : new StdioClientTransport({ command: target.command, args: target.args, env: process.env, stderr: 'ignore' }));
  const era = client.getProtocolEra();
  assert.equal(era, mode === 'legacy' ? 'legacy' : 'modern', 'the era');
  return { client, heard, call: (name, args = {}, options = {}) => client.callTool({ name, arguments: args }, options),
    listen: () => era === 'modern' ? client.listen({ toolsListChanged: true }) : undefined, era };
};

const said = (result) => result.content.map((one) => one.text ?? '').join(' ');
// Of the everything server.
const features = {
  list: async ({ client }) => assert((await client.listTools()).tools.length > 20),
  call: async ({ call }) => assert.match(said(await call('test_simple_text')), /simple text/),
  error: async ({ call }) => assert.equal((await call('test_error_handling')).isError, true),
  progress: async ({ call }) => {
    const steps = [];
    await call('test_tool_with_progress', {}, { onprogress: (one) => steps.push(one.progress) });
    assert(steps.length >= 2, 'progress: ' + steps);
  },
  elicitation: async ({ call }) => assert.match(said(await call('test_elicitation', { message: 'Who?' })), /accept|ann/i),
  sampling: async ({ call }) => assert.match(said(await call('test_sampling', { prompt: 'Think.' })), /forty-two/),
  resources: async ({ client }) => {
    assert((await client.listResources()).resources.length > 2);
    assert.equal((await client.listResourceTemplates()).resourceTemplates.length, 1);
    assert.match((await client.readResource({ uri: 'test://static-text' })).contents[0].text, /static text/);
    assert.match(JSON.stringify(await client.readResource({ uri: 'test://template/7/data' })), /7/);
    await assert.rejects(client.readResource({ uri: 'test://nothing' }));
  },
  prompts: async ({ client }) => {
    assert((await client.listPrompts()).prompts.length > 3);
    const prompt = await client.getPrompt({ name: 'test_prompt_with_arguments', arguments: { arg1: 'one', arg2: 'two' } });
    assert.match(JSON.stringify(prompt.messages), /one.*two/);
  },
  completion: async ({ client }) => assert(Array.isArray((await client.complete({
    ref: { type: 'ref/prompt', name: 'test_prompt_with_arguments' }, argument: { name: 'arg1', value: 't' } })).completion.values)),
  changes: async (near) => {
    await near.client.listTools();
    await near.listen();
    await near.call('test_trigger_tool_change');
    await until('heard of a change', () => near.heard.changed > 0);
    await near.call('test_trigger_tool_change');
  },
};
// Of an agent of a fleet, through its policies.
const agent = {
  list: async ({ client }) => assert((await client.listTools()).tools.some((one) => one.name === 'mcp__registry__lookup_service')),
  call: async ({ call }) => assert.match(said(await call('mcp__registry__lookup_service', { service: 'checkout' })), /team-blue/),
  denied: async ({ call }) => assert.match(said(await call('delete_file', { path: 'logs/search.log' })), /denied by policy/),
};

// ---- the inspector

function inspect(target, era, ...words) {
  const where = target.url ? ['--server-url', target.url, '--transport', 'http', '--header', 'Authorization: ' + bearer.Authorization]
    : [target.command, ...target.args];
  return new Promise((resolve, reject) => execFile(node, [inspector, '--cli', ...where, '--protocol-era', era, ...words],
    { timeout: 60000, maxBuffer: 64 << 20 }, (error, out, err) => error ? reject(new Error(out.slice(-300) + err.slice(-300))) : resolve(out)));
}
const cli = (era) => ({
  list: async (target) => assert.match(await inspect(target, era, '--method', 'tools/list'), /inputSchema/),
  call: async (target) => target.all
    ? assert.match(await inspect(target, era, '--method', 'tools/call', '--tool-name', 'test_simple_text'), /simple text/)
    : assert.match(await inspect(target, era, '--method', 'tools/call', '--tool-name', 'mcp__registry__lookup_service',
      '--tool-arg', 'service=checkout'), /team-blue/),
  resources: async (target) => {
    if (!target.all) return;
    assert.match(await inspect(target, era, '--method', 'resources/list'), /static-text/);
    assert.match(await inspect(target, era, '--method', 'resources/read', '--uri', 'test://static-text'), /static text/);
  },
  prompts: async (target) => {
    if (!target.all) return;
    assert.match(await inspect(target, era, '--method', 'prompts/get', '--prompt-name', 'test_simple_prompt'), /simple prompt/);
  },
  skills: async (target) => {
    if (!target.all || era === 'legacy') return;
    assert.match(await inspect(target, era, '--method', 'skills/list', '--verify', '--require-digests'), /test-skill/);
  },
  load: async (target) => {
    const name = target.all ? 'test_simple_text' : 'mcp__registry__lookup_service';
    const args = target.all ? [] : ['--tool-arg', 'service=checkout'];
    const requests = target.all ? '200' : '20';
    const out = await inspect(target, era, '--method', 'tools/call', '--tool-name', name, ...args, '--load', '--load-concurrency', '8',
      '--load-requests', requests);
    const summary = JSON.parse(out.slice(out.indexOf('{')));
    const text = JSON.stringify(summary);
    const errors = /"(?:errors?|failed|errorCount|failures)":\s*(\d+)/.exec(text);
    assert(errors && Number(errors[1]) === 0, 'the load: ' + text.slice(0, 400));
  },
});

// ---- the table

const rows = [];
let failed = 0;
async function row(client, name, features, near) {
  const line = { suite: `mcp clients ${client}, ${name}`, passed: 0, failed: 0, skipped: 0 };
  const failures = [];
  const shown = [];
  for (const [feature, show] of Object.entries(features)) {
    try {
      let timer;
      const late = new Promise((_, reject) => { timer = setTimeout(() => reject(new Error('not done in 60 s')), 60000); });
      await Promise.race([show(near), late]).finally(() => clearTimeout(timer));
      ++line.passed;
      shown.push(feature);
    } catch (error) {
      ++line.failed;
      failures.push(`${feature}: ${String(error?.message ?? error).slice(0, 400)}`);
      shown.push(feature + ' FAILED');
    }
  }
  if (line.failed > 0) line.failures = failures;
  failed += line.failed;
  console.log(JSON.stringify(line));
  rows.push([client, name, shown.join(', ')]);
}
const sdks = { 'SDK v1 1.32.2': sdk1, 'SDK v2 2.4.0 auto': sdk2('auto'), 'SDK v2 2.4.0 legacy': sdk2('legacy'), 'SDK v2 2.4.0 modern': sdk2('modern') };
const only = process.env.CLIENTS_ONLY ?? '';
for (const [name, target] of Object.entries(targets)) {
  for (const [client, connect] of Object.entries(sdks)) {
    if (!`${client}, ${name}`.includes(only)) continue;
    const where = target();
    const near = await connect(where).catch((error) => ({ broken: error }));
    const broken = { connect: () => Promise.reject(near.broken) };
    await row(client, name, near.broken ? broken : where.all ? features : agent, near);
    await near.client?.close().catch(() => {});
  }
  for (const era of ['auto', 'legacy', 'modern']) {
    if (`inspector 2.12.0 ${era}, ${name}`.includes(only)) await row(`inspector 2.12.0 ${era}`, name, cli(era), target());
  }
}
for (const child of children) child.kill('SIGTERM');
const table = [['client', 'server', 'shown'], ['---', '---', '---'], ...rows];
writeFileSync(folder + '/clients.md', table.map((one) => '| ' + one.join(' | ') + ' |').join('\n') + '\n');
process.exit(failed === 0 ? 0 : 1);
