// The official SDK as a server, for our client: an agent that does what a message's first word says. It prints its port.
const { server, serverExpress, compatExpress, express } = require('./sdk.cjs');
const { DefaultRequestHandler, InMemoryTaskStore, AgentEvent } = server();
const { agentCardHandler, jsonRpcHandler, restHandler, UserBuilder } = serverExpress();

const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const part = (text) => ({ content: { $case: 'text', value: text }, metadata: undefined, filename: '', mediaType: '' });
const cancelled = new Set();

class Agent {
  async execute(request, bus) {
    const { taskId, contextId, userMessage } = request;
    const words = (userMessage.parts[0].content?.value ?? '').split(' ');
    const said = (text) => ({
      messageId: taskId + text, contextId, taskId, role: 2, parts: [part(text)], metadata: undefined, extensions: [], referenceTaskIds: [],
    });
    const status = (state, text) => bus.publish(AgentEvent.statusUpdate({
      taskId, contextId, metadata: undefined,
      status: { state, message: text ? said(text) : undefined, timestamp: new Date().toISOString() },
    }));
    const artifact = (text, append, lastChunk) => bus.publish(AgentEvent.artifactUpdate({
      taskId, contextId, append, lastChunk, metadata: undefined,
      artifact: { artifactId: 'answer', name: 'answer', description: '', parts: [part(text)], metadata: undefined, extensions: [] },
    }));
    if (words[0] === 'message') {
      bus.publish(AgentEvent.message(said('just this')));
      bus.finished();
      return;
    }
    if (!request.task) {
      bus.publish(AgentEvent.task({
        id: taskId, contextId, status: { state: 1, message: undefined, timestamp: new Date().toISOString() }, artifacts: [],
        history: [userMessage], metadata: undefined,
      }));
    }
    status(2);
    if (words[0] === 'input') {
      status(6, 'which one?');
    } else if (words[0] === 'stream') {
      const count = Number(words[1]);
      for (let n = 0; n < count; ++n) {
        await wait(2);
        artifact(n + ' ', n > 0, n + 1 === count);
      }
      status(3);
    } else if (words[0] === 'hang') {
      while (!cancelled.has(taskId)) await wait(10);
      status(5);
    } else {
      artifact('done: ' + words.join(' '), false, true);
      status(3);
    }
    bus.finished();
  }
  async cancelTask(taskId) {
    cancelled.add(taskId);
  }
}

const app = express()();
const listener = app.listen(0, '127.0.0.1', () => {
  const base = `http://127.0.0.1:${listener.address().port}`;
  const face = (protocolBinding, path, protocolVersion) => ({ url: base + path, protocolBinding, tenant: '', protocolVersion });
  const card = {
    name: 'sdk agent', description: 'Answers.', version: '1.0.0', provider: undefined, documentationUrl: undefined, iconUrl: undefined,
    supportedInterfaces: [face('JSONRPC', '/rpc', '1.0'), face('HTTP+JSON', '/rest', '1.0'), face('JSONRPC', '/rpc', '0.3')],
    capabilities: { streaming: true, pushNotifications: false, extensions: [], extendedAgentCard: false },
    securitySchemes: {}, securityRequirements: [], defaultInputModes: ['text/plain'], defaultOutputModes: ['text/plain'],
    skills: [{ id: 'answer', name: 'Answer', description: 'Answers.', tags: ['text'], examples: [], inputModes: [], outputModes: [],
      securityRequirements: [] }],
    signatures: [],
  };
  const requestHandler = new DefaultRequestHandler(card, new InMemoryTaskStore(), new Agent());
  const options = { requestHandler, userBuilder: UserBuilder.noAuthentication, legacyCompat: { enabled: true } };
  app.use('/.well-known/agent-card.json', agentCardHandler({ agentCardProvider: requestHandler, legacyCompat: { enabled: true } }));
  app.use('/rpc', jsonRpcHandler(options));
  app.use('/rest', restHandler(options));
  console.log(base);
});
process.stdin.on('end', () => process.exit(0)).resume();
