// The bridge matrix: official SDK clients of both eras, through `ambit mcp gateway`, to official SDK servers of both eras, over
// pipes and over HTTP: `bridge.mjs NPM AMBIT EVERYTHING FOLDER`. A line of JSON a cell. Legacy is SDK v1, modern is SDK v2; tasks of
// the modern era, which no official server has, are those of our own everything server.
import { createRequire } from 'node:module';
import { mkdirSync, writeFileSync, rmSync } from 'node:fs';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import assert from 'node:assert/strict';
import { endAll, lineOf, pause, start, until } from './programs.mjs';

const [, , npm, ambit, everything, folder] = process.argv;
const from = createRequire(npm + '/package.json');
const here = dirname(fileURLToPath(import.meta.url));
const token = 'bridge-token-0123456789';
const note = 'note://today';

// ---- the near end: one face for both SDKs

async function legacyClient(transport) {
  const { Client } = from('@modelcontextprotocol/sdk/client/index.js');
  const types = from('@modelcontextprotocol/sdk/types.js');
  const heard = { asked: 0, thought: 0, tools: 0, updated: 0 };
  const client = new Client({ name: 'bridge-v1', version: '1' }, { capabilities: { elicitation: {}, sampling: {} } });
  client.setRequestHandler(types.ElicitRequestSchema, () => (++heard.asked, { action: 'accept', content: { name: 'Ann' } }));
  client.setRequestHandler(types.CreateMessageRequestSchema, () => (++heard.thought,
    { model: 'none', role: 'assistant', content: { type: 'text', text: 'forty-two' } }));
  client.setNotificationHandler(types.ToolListChangedNotificationSchema, () => { ++heard.tools; });
  client.setNotificationHandler(types.ResourceUpdatedNotificationSchema, ({ params }) => { if (params.uri === note) ++heard.updated; });
  await client.connect(transport);
  return {
    heard,
    call: (name, args = {}, options = {}) => client.callTool({ name, arguments: args }, undefined, options),
    listen: () => client.subscribeResource({ uri: note }),
    tasks: async (name, args) => {
      const seen = [];
      for await (const message of client.experimental.tasks.callToolStream({ name, arguments: args }, undefined,
        { task: { ttl: 60000 } })) seen.push(message);
      assert.equal(seen.at(-1).type, 'result', JSON.stringify(seen.at(-1)));
      return { types: seen.map((one) => one.type), result: seen.at(-1).result };
    },
    client,
  };
}

async function modernClient(transport) {
  const { Client } = from('@modelcontextprotocol/client');
  const heard = { asked: 0, thought: 0, tools: 0, updated: 0 };
  const info = { name: 'bridge-v2', version: '1' };
  const capabilities = { elicitation: {}, sampling: {}, extensions: { 'io.modelcontextprotocol/tasks': {} } };
  const client = new Client(info, { capabilities, versionNegotiation: { mode: { pin: '2026-07-28' } } });
  client.setRequestHandler('elicitation/create', () => (++heard.asked, { action: 'accept', content: { name: 'Ann' } }));
  client.setRequestHandler('sampling/createMessage', () => (++heard.thought,
    { model: 'none', role: 'assistant', content: { type: 'text', text: 'forty-two' } }));
  client.setNotificationHandler('notifications/tools/list_changed', () => { ++heard.tools; });
  client.setNotificationHandler('notifications/resources/updated', ({ params }) => { if (params.uri === note) ++heard.updated; });
  await client.connect(transport);
  // What the extension's own client sends as it is.
  const waiting = new Map();
  const inner = transport.onmessage;
  transport.onmessage = (message, extra) => {
    const resolve = waiting.get(message.id);
    if (!resolve) return inner(message, extra);
    waiting.delete(message.id);
    resolve(message.error ? { kind: 'error', error: message.error } : { kind: 'result', result: message.result });
  };
  let sent = 0;
  const rawDispatch = (request) => new Promise((resolve, reject) => {
    const id = 'raw-' + ++sent;
    waiting.set(id, resolve);
    transport.send({ ...request, jsonrpc: '2.0', id }).catch(reject);
  });
  return {
    heard,
    call: (name, args = {}, options = {}) => client.callTool({ name, arguments: args }, options),
    listen: () => client.listen({ toolsListChanged: true, resourceSubscriptions: [note] }),
    tasks: async (name, args) => {
      const { createTaskSessionFromClient, resultFromTaskOutcome } = await import(
        'file://' + npm + '/node_modules/@modelcontextprotocol/ext-tasks/dist/client/index.js');
      const session = createTaskSessionFromClient(client, { endpointId: 'gateway', rawDispatch,
        v2RequestFraming: { protocolVersion: '2026-07-28', clientInfo: info, clientCapabilities: capabilities } });
      try {
        const execution = await session.callTool(name, args);
        const { outcome } = await execution.settle();
        return { types: [execution.kind], result: resultFromTaskOutcome(outcome) };
      } finally {
        await session.close();
      }
    },
    client,
  };
}

// ---- the cells

const tool = (name) => 'mcp__up__' + name;
const said = (result) => result.content[0].text;
const story = async (near) => JSON.parse(said(await near.call(tool('story'))));

const cells = {
  tools: async (near) => {
    const { tools } = await near.client.listTools();
    for (const name of ['echo', 'ask', 'leaf']) assert(tools.some((one) => one.name === tool(name)), 'no ' + name);
    assert.equal(said(await near.call(tool('echo'), { text: 'hi there' })), 'hi there');
    const { resources } = await near.client.listResources();
    assert(resources.some((one) => one.uri === note));
    assert.equal((await near.client.readResource({ uri: note })).contents[0].text, 'today');
    const prompt = await near.client.getPrompt({ name: tool('greet'), arguments: { who: 'Ann' } });
    assert.equal(prompt.messages[0].content.text, 'Greet Ann');
  },
  elicitation: async (near, outer, inner, wire) => {
    assert.equal(said(await near.call(tool('ask'))), 'Hello, Ann');
    assert(near.heard.asked >= 1);
    // A tool that asks has run once, however often its client came.
    assert.equal((await story(near)).asked, 1);
    // Several at once: over pipes a legacy server cannot say which call its question belongs to.
    if (inner === 'legacy' && wire === 'stdio') return;
    const both = await Promise.all([near.call(tool('ask')), near.call(tool('ask')), near.call(tool('echo'), { text: 'beside it' })]);
    assert.deepEqual(both.map(said), ['Hello, Ann', 'Hello, Ann', 'beside it']);
    assert.equal((await story(near)).asked, 3);
  },
  sampling: async (near) => {
    assert.equal(said(await near.call(tool('think'))), 'I thought: forty-two');
    assert.equal(near.heard.thought, 1);
    assert.equal((await story(near)).thought, 1);
  },
  progress: async (near) => {
    const steps = [];
    const result = await near.call(tool('count'), {}, { onprogress: (progress) => steps.push(progress) });
    assert.equal(said(result), 'counted');
    assert.deepEqual(steps.map((one) => [one.progress, one.total, one.message]), [[1, 3, 'step 1'], [2, 3, 'step 2'], [3, 3, 'step 3']]);
  },
  cancel: async (near) => {
    const abort = new AbortController();
    const call = near.call(tool('slow'), {}, { signal: abort.signal });
    call.catch(() => {});  // looked at below
    await until('began', async () => (await story(near)).slow === 1);
    abort.abort('enough');
    await assert.rejects(call);
    await until('cancelled', async () => (await story(near)).cancelled === 1);
  },
  subscriptions: async (near) => {
    await near.client.listTools();
    await near.listen();
    await until('heard of the resource', async () => {
      await near.call(tool('touch'));
      await pause(100);
      return near.heard.updated > 0;
    });
    const before = near.heard.tools;
    await near.call(tool('shed'));
    await until('heard of the tools', () => near.heard.tools > before);
    const { tools } = await near.client.listTools();
    assert(!tools.some((one) => one.name === tool('leaf')), 'the leaf is still there');
  },
  tasks: async (near, outer, inner) => {
    const name = inner === 'legacy' ? tool('job') : 'mcp__ours__slow_compute';
    const { types, result } = await near.tasks(name, inner === 'legacy' ? {} : { seconds: 0.4 });
    assert.match(said(result), inner === 'legacy' ? /the job is done/ : /comput/i);
    assert(types.some((one) => one.startsWith('task')), 'it was no task here: ' + types);
  },
};

async function gatewayOf(outer, inner, wire) {
  const place = `${folder}/${wire}-${outer}-${inner}`;
  rmSync(place, { recursive: true, force: true });
  mkdirSync(place, { recursive: true });
  const words = [here + '/bridge_upstream.mjs', npm, inner, wire];
  const servers = {};
  if (wire === 'stdio') {
    servers.up = { command: '/usr/bin/node', args: words, profile: 'node', cwd: here };
  } else {
    servers.up = { url: await lineOf(start('/usr/bin/node', words).stdout, /^(http.*)/) };
  }
  if (inner === 'modern') servers.ours = { url: await lineOf(start(everything, ['127.0.0.1:0']).stdout, /^(http.*)/) };
  const fleet = {
    name: 'bridge',
    // A fleet has an agent; this one does nothing.
    models: { none: { provider: 'openai', model: 'none', baseUrl: 'http://127.0.0.1:1/v1' } },
    agents: { nobody: { model: 'none' } },
    workflow: { agent: 'nobody', prompt: 'Nothing.' },
    policies: ['none.cedar'],
    profiles: { node: { extends: 'fs-read', read: [npm, here], memory: '1GiB', processes: 64, openFiles: 256 } },
    mcpServers: servers,
  };
  writeFileSync(place + '/none.cedar', 'forbid (principal, action, resource);\n');
  writeFileSync(place + '/fleet.json', JSON.stringify(fleet));
  const args = ['mcp', 'gateway', place + '/fleet.json', '--pins', place + '/pins.json'];
  if (wire === 'stdio') {
    const kind = outer === 'legacy' ? '@modelcontextprotocol/sdk/client/stdio.js' : '@modelcontextprotocol/client/stdio';
    const { StdioClientTransport } = from(kind);
    return new StdioClientTransport({ command: ambit, args, stderr: 'inherit' });
  }
  const gateway = start(ambit, [...args, '--listen', '127.0.0.1:0'], { env: { ...process.env, AMBIT_TOKEN: token } });
  const url = new URL(await lineOf(gateway.stderr, /gateway at (http\S+)/));
  const { StreamableHTTPClientTransport } = outer === 'legacy' ? from('@modelcontextprotocol/sdk/client/streamableHttp.js')
    : from('@modelcontextprotocol/client');
  return new StreamableHTTPClientTransport(url, { requestInit: { headers: { Authorization: 'Bearer ' + token } } });
}

const within = (ms, work) => {
  let timer;
  const late = new Promise((_, reject) => { timer = setTimeout(() => reject(new Error(`not done after ${ms} ms`)), ms); });
  return Promise.race([work, late]).finally(() => clearTimeout(timer));
};

let failed = 0;
const only = process.env.BRIDGE_ONLY ?? '';
for (const wire of ['stdio', 'http']) {
  for (const outer of ['legacy', 'modern']) {
    for (const inner of ['legacy', 'modern']) {
      const combination = `${outer}->${inner} ${wire}`;
      if (!combination.includes(only)) continue;
      let near;
      try {
        const transport = await within(60000, gatewayOf(outer, inner, wire));
        near = await within(60000, outer === 'legacy' ? legacyClient(transport) : modernClient(transport));
      } catch (error) {
        near = { broken: error };
      }
      for (const [name, cell] of Object.entries(cells)) {
        const ours = name === 'tasks' && inner === 'modern' ? ' (our server)' : '';
        const line = { suite: `mcp bridge ${combination} ${name}${ours}`, passed: 0, failed: 0, skipped: 0 };
        try {
          if (near.broken) throw near.broken;
          await within(60000, cell(near, outer, inner, wire));
          line.passed = 1;
        } catch (error) {
          line.failed = 1;
          line.failures = [String(error?.message ?? error).slice(0, 600)];
          if (process.env.BRIDGE_DEBUG) console.error(error, error?.cause);
          ++failed;
        }
        console.log(JSON.stringify(line));
      }
      await near.client?.close().catch(() => {});
      endAll();
    }
  }
}
process.exit(failed === 0 ? 0 : 1);
