// The far end of the bridge matrix, on the official SDKs: `bridge_upstream.mjs NPM legacy|modern stdio|http`. Legacy is SDK v1,
// modern is SDK v2 that refuses a handshake. Over HTTP it prints its URL. Both offer the same tools; what they have done they
// tell by the tool `story`.
import { createRequire } from 'node:module';
import { createServer } from 'node:http';
import { randomUUID } from 'node:crypto';

const [, , npm, era, wire] = process.argv;
const from = createRequire(npm + '/package.json');
const { z } = from('zod');
const text = (words) => ({ content: [{ type: 'text', text: words }] });
const story = { asked: 0, thought: 0, cancelled: 0, slow: 0 };
const note = 'note://today';
let leaves = true;
const form = {
  message: 'Who are you?',
  requestedSchema: { type: 'object', properties: { name: { type: 'string' } }, required: ['name'] },
};
const thought = { messages: [{ role: 'user', content: { type: 'text', text: 'Think.' } }], maxTokens: 10 };
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

async function slowly(signal) {
  ++story.slow;
  for (let n = 0; n < 600; ++n) {
    if (signal.aborted) {
      ++story.cancelled;
      throw new Error('cancelled');
    }
    await pause(50);
  }
  return text('was never cancelled');
}

// What both offer in the same words.
function common(server, told) {
  server.registerTool('echo', { inputSchema: z.object({ text: z.string() }) }, ({ text: words }) => text(words));
  server.registerTool('story', {}, () => text(JSON.stringify(story)));
  server.registerTool('touch', {}, () => {
    setTimeout(() => told.updated(note), 20);
    return text('touched');
  });
  if (leaves) told.leaf = server.registerTool('leaf', {}, () => text('a leaf'));
  server.registerTool('shed', {}, () => {
    leaves = false;
    setTimeout(() => told.shed(), 20);
    return text('shed');
  });
  server.registerResource('note', note, { mimeType: 'text/plain' }, () => ({ contents: [{ uri: note, text: 'today' }] }));
  server.registerPrompt('greet', { argsSchema: z.object({ who: z.string() }) }, ({ who }) => ({
    messages: [{ role: 'user', content: { type: 'text', text: 'Greet ' + who } }],
  }));
  return server;
}

// ---- SDK v1

function makeLegacy(tell = {}) {
  const { McpServer } = from('@modelcontextprotocol/sdk/server/mcp.js');
  const { InMemoryTaskStore } = from('@modelcontextprotocol/sdk/experimental/tasks/stores/in-memory.js');
  const types = from('@modelcontextprotocol/sdk/types.js');
  const store = new InMemoryTaskStore();
  const server = new McpServer({ name: 'upstream-v1', version: '1' }, {
    capabilities: { resources: { subscribe: true }, tasks: { requests: { tools: { call: {} } }, cancel: {}, list: {} } },
    taskStore: store,
  });
  const subscribed = new Set();
  const raw = { inputSchema: undefined };
  const v1 = {
    registerTool: (name, options, run) => server.registerTool(name,
      options.inputSchema ? { ...options, inputSchema: options.inputSchema.shape } : raw, run),
    registerPrompt: (name, options, run) => server.registerPrompt(name, { argsSchema: options.argsSchema.shape }, run),
    registerResource: (...all) => server.registerResource(...all),
  };
  common(v1, {
    updated: (uri) => subscribed.has(uri) && server.server.sendResourceUpdated({ uri }),
    shed: () => server._registeredTools.leaf?.remove(),
  });
  server.server.setRequestHandler(types.SubscribeRequestSchema, ({ params }) => (subscribed.add(params.uri), {}));
  server.server.setRequestHandler(types.UnsubscribeRequestSchema, ({ params }) => (subscribed.delete(params.uri), {}));
  const related = (extra) => ({ relatedRequestId: extra.requestId });
  server.registerTool('ask', raw, async (extra) => {
    ++story.asked;
    const answer = await server.server.elicitInput(form, related(extra));
    return text(answer.action === 'accept' ? 'Hello, ' + answer.content.name : answer.action);
  });
  server.registerTool('think', raw, async (extra) => {
    ++story.thought;
    const answer = await server.server.createMessage(thought, related(extra));
    return text('I thought: ' + answer.content.text);
  });
  server.registerTool('count', raw, async (extra) => {
    for (let n = 1; n <= 3; ++n) {
      await extra.sendNotification({ method: 'notifications/progress',
        params: { progressToken: extra._meta?.progressToken, progress: n, total: 3, message: 'step ' + n } });
      await pause(20);
    }
    return text('counted');
  });
  server.registerTool('slow', raw, (extra) => slowly(extra.signal));
  server.experimental.tasks.registerToolTask('job', { execution: { taskSupport: 'required' } }, {
    createTask: async (extra) => {
      const task = await extra.taskStore.createTask({ ttl: 60000, pollInterval: 50 });
      setTimeout(() => extra.taskStore.storeTaskResult(task.taskId, 'completed', text('the job is done')), 400);
      return { task };
    },
    getTask: (extra) => extra.taskStore.getTask(extra.taskId),
    getTaskResult: (extra) => extra.taskStore.getTaskResult(extra.taskId),
  });
  return server;
}

async function legacyHttp() {
  const { StreamableHTTPServerTransport } = from('@modelcontextprotocol/sdk/server/streamableHttp.js');
  const sessions = new Map();
  return async (request, response) => {
    let transport = sessions.get(request.headers['mcp-session-id']);
    if (!transport) {
      transport = new StreamableHTTPServerTransport({
        sessionIdGenerator: randomUUID,
        onsessioninitialized: (id) => sessions.set(id, transport),
      });
      await makeLegacy().connect(transport);
    }
    await transport.handleRequest(request, response);
  };
}

// ---- SDK v2

function makeModern(notify) {
  const { McpServer, inputRequired, acceptedContent } = from('@modelcontextprotocol/server');
  const server = new McpServer({ name: 'upstream-v2', version: '1' }, { capabilities: { tools: { listChanged: true },
    resources: { subscribe: true, listChanged: true }, prompts: { listChanged: true } } });
  const told = {
    updated: (uri) => notify ? notify().resourceUpdated(uri) : server.server.sendResourceUpdated({ uri }),
    shed: () => notify ? notify().toolsChanged() : told.leaf?.remove(),
  };
  common(server, told);
  server.registerTool('ask', {}, (context) => {
    const given = acceptedContent(context.mcpReq.inputResponses, 'who');
    if (!given) {
      return inputRequired({ inputRequests: { who: inputRequired.elicit(form), where: inputRequired.elicit({ ...form, message: 'And where?' }) },
        requestState: 'asked once' });
    }
    ++story.asked;
    return text(context.mcpReq.requestState() === 'asked once' ? 'Hello, ' + given.name : 'the state is lost');
  });
  server.registerTool('think', {}, (context) => {
    const given = context.mcpReq.inputResponses?.thought;
    if (!given) return inputRequired({ inputRequests: { thought: inputRequired.createMessage(thought) } });
    ++story.thought;
    return text('I thought: ' + given.content.text);
  });
  server.registerTool('count', {}, async (context) => {
    for (let n = 1; n <= 3; ++n) {
      await context.mcpReq.notify({ method: 'notifications/progress',
        params: { progressToken: context.mcpReq._meta?.progressToken, progress: n, total: 3, message: 'step ' + n } });
      await pause(20);
    }
    return text('counted');
  });
  server.registerTool('slow', {}, (context) => slowly(context.mcpReq.signal));
  return server;
}

if (wire === 'stdio') {
  if (era === 'legacy') {
    const { StdioServerTransport } = from('@modelcontextprotocol/sdk/server/stdio.js');
    await makeLegacy().connect(new StdioServerTransport());
  } else {
    from('@modelcontextprotocol/server/stdio').serveStdio(() => makeModern(), { legacy: 'reject' });
  }
} else {
  let handle;
  if (era === 'legacy') {
    handle = await legacyHttp();
  } else {
    const handler = from('@modelcontextprotocol/server').createMcpHandler(() => makeModern(() => handler.notify), { legacy: 'reject' });
    handle = from('@modelcontextprotocol/node').toNodeHandler(handler);
  }
  const server = createServer((request, response) => handle(request, response));
  server.listen(0, '127.0.0.1', () => console.log(`http://127.0.0.1:${server.address().port}/mcp`));
}
