// Official clients against our servers: `clients.mjs NPM AMBIT EVERYTHING NODE FOLDER`. SDK v1, SDK v2 in its three modes and the
// inspector's command line, over pipes and over HTTP, against the everything server, `ambit mcp serve` and `ambit serve`. A line of
// JSON a client and server, and FOLDER/clients.md. NODE is one that the inspector runs on.
import { createRequire } from 'node:module';
import { execFile } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import assert from 'node:assert/strict';
import { lineOf, start, until } from './programs.mjs';

const [, , npm, ambit, everything, node, folder] = process.argv;
const from = createRequire(npm + '/package.json');
const fleet = folder + '/fleet.json';
const token = 'clients-token-0123456789';
const bearer = { Authorization: 'Bearer ' + token };
const inspector = npm + '/node_modules/@modelcontextprotocol/inspector/clients/launcher/build/index.js';

// ---- the servers

rmSync(folder, { recursive: true, force: true });
mkdirSync(folder, { recursive: true });
// An agent with one tool that it may use and one that it may not.
const words = { type: 'object', properties: { text: { type: 'string' } }, required: ['text'] };
writeFileSync(folder + '/bounds.cedar', `permit (principal, action, resource) when { resource == Tool::"say" };
@reason("Nothing is ever deleted here.")
forbid (principal, action == Action::"tool_call", resource == Tool::"delete");
`);
writeFileSync(fleet, JSON.stringify({
  name: 'clients',
  models: { none: { provider: 'openai', model: 'none', baseUrl: 'http://127.0.0.1:1/v1' } },
  tools: {
    say: { description: 'Say it again', command: ['echo', 'said:', '${text}'], inputSchema: words, profile: 'compute' },
    delete: { description: 'Delete it', command: ['rm', '--', '${text}'], inputSchema: words, profile: 'compute' },
  },
  agents: { clerk: { description: 'Says things', model: 'none', owner: 'ops@example.com', tools: ['say', 'delete'], a2a: {},
    limits: { maxToolCalls: 100000 } } },
  policies: ['bounds.cedar'],
  workflow: { agent: 'clerk', prompt: 'Nothing.' },
}));
// Ours take this token.
process.env.AMBIT_TOKEN = token;
const everythingUrl = await lineOf(start(everything, ['127.0.0.1:0']).stdout, /^(http.*)/);
const agentUrl = await lineOf(start(ambit, ['serve', fleet, '--listen', '127.0.0.1:0', '--state', folder + '/served']).stderr,
  /agent clerk at (\S+)/) + '/mcp';
// The same everything server, behind our gateway.
const behind = folder + '/behind.json';
writeFileSync(behind, JSON.stringify({ ...JSON.parse(readFileSync(fleet, 'utf8')), mcpServers: { every: { url: everythingUrl } } }));
const gatewayUrl = await lineOf(start(ambit, ['mcp', 'gateway', behind, '--listen', '127.0.0.1:0', '--pins', folder + '/pins.json']).stderr,
  /gateway at (\S+)/);
let lives = 0;
const targets = {
  'everything server, stdio': () => ({ command: everything, args: ['stdio'], all: true }),
  'everything server, HTTP': () => ({ url: everythingUrl, all: true }),
  'ambit mcp serve, stdio': () => ({ command: ambit, args: ['mcp', 'serve', 'clerk', '--fleet', fleet, '--state', `${folder}/life-${++lives}`,
    '--principal', 'ann'] }),
  'ambit serve, HTTP': () => ({ url: agentUrl }),
  'ambit mcp gateway, HTTP': () => ({ url: gatewayUrl, all: true, prefix: 'mcp__every__' }),
};

// ---- the SDKs behind one face

// A form with "ann" in every field.
const filled = ({ requestedSchema }) => ({ action: 'accept',
  content: Object.fromEntries(Object.keys(requestedSchema.properties ?? {}).map((key) => [key, 'ann'])) });

async function sdk1(target) {
  const { Client } = from('@modelcontextprotocol/sdk/client/index.js');
  const { StdioClientTransport } = from('@modelcontextprotocol/sdk/client/stdio.js');
  const { StreamableHTTPClientTransport } = from('@modelcontextprotocol/sdk/client/streamableHttp.js');
  const types = from('@modelcontextprotocol/sdk/types.js');
  const client = new Client({ name: 'sdk-v1', version: '1' }, { capabilities: { elicitation: {}, sampling: {}, roots: {} } });
  const heard = { changed: 0 };
  client.setRequestHandler(types.ElicitRequestSchema, ({ params }) => filled(params));
  client.setRequestHandler(types.CreateMessageRequestSchema, () => ({ model: 'none', role: 'assistant', content: { type: 'text', text: 'forty-two' } }));
  client.setNotificationHandler(types.ToolListChangedNotificationSchema, () => { ++heard.changed; });
  await client.connect(target.url ? new StreamableHTTPClientTransport(new URL(target.url), { requestInit: { headers: bearer } })
    : new StdioClientTransport({ command: target.command, args: target.args, env: process.env, stderr: 'ignore' }));
  const prefix = target.prefix ?? '';
  return { client, heard, prefix, listen: async () => {}, era: 'legacy',
    call: (name, args = {}, options = {}) => client.callTool({ name: prefix + name, arguments: args }, undefined, options) };
}

const sdk2 = (mode) => async (target) => {
  const { Client, StreamableHTTPClientTransport } = from('@modelcontextprotocol/client');
  const { StdioClientTransport } = from('@modelcontextprotocol/client/stdio');
  const client = new Client({ name: 'sdk-v2', version: '1' }, { capabilities: { elicitation: {}, sampling: {}, roots: {} },
    versionNegotiation: { mode: mode === 'modern' ? { pin: '2026-07-28' } : mode } });
  const heard = { changed: 0 };
  client.setRequestHandler('elicitation/create', ({ params }) => filled(params));
  client.setRequestHandler('sampling/createMessage', () => ({ model: 'none', role: 'assistant', content: { type: 'text', text: 'forty-two' } }));
  client.setNotificationHandler('notifications/tools/list_changed', () => { ++heard.changed; });
  await client.connect(target.url ? new StreamableHTTPClientTransport(new URL(target.url), { requestInit: { headers: bearer } })
    : new StdioClientTransport({ command: target.command, args: target.args, env: process.env, stderr: 'ignore' }));
  const era = client.getProtocolEra();
  assert.equal(era, mode === 'legacy' ? 'legacy' : 'modern', 'the era');
  const prefix = target.prefix ?? '';
  return { client, heard, prefix, era, listen: () => era === 'modern' ? client.listen({ toolsListChanged: true }) : undefined,
    call: (name, args = {}, options = {}) => client.callTool({ name: prefix + name, arguments: args }, options) };
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
  elicitation: async ({ call }) => assert.match(said(await call('test_elicitation', { message: 'Who?' })), /ann/),
  sampling: async ({ call }) => assert.match(said(await call('test_sampling', { prompt: 'Think.' })), /forty-two/),
  resources: async ({ client }) => {
    assert((await client.listResources()).resources.length > 2);
    assert.equal((await client.listResourceTemplates()).resourceTemplates.length, 1);
    assert.match((await client.readResource({ uri: 'test://static-text' })).contents[0].text, /static text/);
    assert.match(JSON.stringify(await client.readResource({ uri: 'test://template/7/data' })), /7/);
    await assert.rejects(client.readResource({ uri: 'test://nothing' }));
  },
  prompts: async ({ client, prefix }) => {
    assert((await client.listPrompts()).prompts.length > 3);
    const prompt = await client.getPrompt({ name: prefix + 'test_prompt_with_arguments', arguments: { arg1: 'one', arg2: 'two' } });
    assert.match(JSON.stringify(prompt.messages), /one.*two/);
  },
  completion: async ({ client, prefix }) => assert(Array.isArray((await client.complete({
    ref: { type: 'ref/prompt', name: prefix + 'test_prompt_with_arguments' }, argument: { name: 'arg1', value: 't' } })).completion.values)),
  changes: async (near) => {
    await near.client.listTools();
    await near.listen();
    await near.call('test_trigger_tool_change');
    await until('heard of a change', () => near.heard.changed > 0);
    await near.call('test_trigger_tool_change');
  },
};
// Behind the gateway a tool that is new is withheld, so that there is no news of it.
const { changes: _, ...behindGateway } = features;
// Of an agent of a fleet, through its policies.
const agent = {
  list: async ({ client }) => assert((await client.listTools()).tools.some((one) => one.name === 'say')),
  call: async ({ call }) => assert.match(said(await call('say', { text: 'hello' })), /said: hello/),
  denied: async ({ call }) => assert.match(said(await call('delete', { text: 'all' })), /denied by policy: Nothing is ever deleted here/),
};

// ---- the inspector

function inspect(target, era, ...words) {
  const where = target.url ? ['--server-url', target.url, '--transport', 'http', '--header', 'Authorization: ' + bearer.Authorization]
    : [target.command, ...target.args];
  return new Promise((resolve, reject) => execFile(node, [inspector, '--cli', ...where, '--protocol-era', era, ...words],
    { timeout: 60000, maxBuffer: 64 << 20 }, (error, out, err) => error ? reject(new Error(out.slice(-300) + err.slice(-300))) : resolve(out)));
}
const cli = (era, all) => ({
  list: async (target) => assert.match(await inspect(target, era, '--method', 'tools/list'), /inputSchema/),
  ...(all ? {
    call: async (target) => assert.match(await inspect(target, era, '--method', 'tools/call', '--tool-name',
      (target.prefix ?? '') + 'test_simple_text'), /simple text/),
    resources: async (target) => {
      assert.match(await inspect(target, era, '--method', 'resources/list'), /static-text/);
      assert.match(await inspect(target, era, '--method', 'resources/read', '--uri', 'test://static-text'), /static text/);
    },
    prompts: async (target) => assert.match(
      await inspect(target, era, '--method', 'prompts/get', '--prompt-name', (target.prefix ?? '') + 'test_simple_prompt'), /simple prompt/),
    skills: async (target) => assert.match(
      await inspect(target, era, '--method', 'skills/list', '--verify', '--require-digests'), /test-skill/),
  } : {
    call: async (target) => assert.match(
      await inspect(target, era, '--method', 'tools/call', '--tool-name', 'say', '--tool-arg', 'text=hello'), /said: hello/),
  }),
  load: async (target) => {
    const name = target.all ? (target.prefix ?? '') + 'test_simple_text' : 'say';
    const args = target.all ? [] : ['--tool-arg', 'text=hello'];
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
    await row(client, name, near.broken ? broken : where.prefix ? behindGateway : where.all ? features : agent, near);
    await near.client?.close().catch(() => {});
  }
  for (const era of ['auto', 'legacy', 'modern']) {
    if (`inspector 2.12.0 ${era}, ${name}`.includes(only)) await row(`inspector 2.12.0 ${era}`, name, cli(era, target().all), target());
  }
}
const table = [['client', 'server', 'shown'], ['---', '---', '---'], ...rows];
writeFileSync(folder + '/clients.md', table.map((one) => '| ' + one.join(' | ') + ' |').join('\n') + '\n');
process.exit(failed === 0 ? 0 : 1);
