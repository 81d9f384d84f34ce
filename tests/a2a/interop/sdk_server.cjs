// sdk_server.cjs [grpc]: the official SDK as a server, for our client: an agent that does what a message's first word says, on
// every binding and version. It prints its URL.
const { server, serverExpress, serverGrpc, compatGrpc, compatServer, grpc, express } = require('./sdk.cjs');
const { DefaultRequestHandler, InMemoryTaskStore, InMemoryPushNotificationStore, DefaultPushNotificationSender, AgentEvent } = server();

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
const listener = app.listen(0, '127.0.0.1', async () => {
  const base = `http://127.0.0.1:${listener.address().port}`;
  const rpc = process.argv[2] === 'grpc' ? new (grpc().Server)() : undefined;
  const port = rpc && await new Promise((resolve, reject) => rpc.bindAsync('127.0.0.1:0', grpc().ServerCredentials.createInsecure(),
    (error, bound) => (error ? reject(error) : resolve(bound))));
  const face = (protocolBinding, url, protocolVersion) => ({ url, protocolBinding, tenant: '', protocolVersion });
  const faces = (version) => [face('JSONRPC', base + '/rpc', version), face('HTTP+JSON', base + '/rest', version),
    ...(rpc ? [face('GRPC', `127.0.0.1:${port}`, version)] : [])];
  const card = {
    name: 'sdk agent', description: 'Answers.', version: '1.0.0', provider: undefined, documentationUrl: undefined, iconUrl: undefined,
    supportedInterfaces: [...faces('1.0'), ...faces('0.3')],
    capabilities: { streaming: true, pushNotifications: true, extensions: [], extendedAgentCard: false },
    securitySchemes: {}, securityRequirements: [], defaultInputModes: ['text/plain'], defaultOutputModes: ['text/plain'],
    skills: [{ id: 'answer', name: 'Answer', description: 'Answers.', tags: ['text'], examples: [], inputModes: [], outputModes: [],
      securityRequirements: [] }],
    signatures: [],
  };
  const hooks = new InMemoryPushNotificationStore();
  const { V03PushNotificationSerializer } = compatServer();
  const sender = new DefaultPushNotificationSender(hooks, { serializers: { '0.3': new V03PushNotificationSerializer() } });
  const requestHandler = new DefaultRequestHandler(card, new InMemoryTaskStore(), new Agent(), undefined, hooks, sender);
  const { UserBuilder, ...handlers } = serverExpress();
  const options = { requestHandler, userBuilder: UserBuilder.noAuthentication, legacyCompat: { enabled: true } };
  app.use('/.well-known/agent-card.json', handlers.agentCardHandler({ agentCardProvider: requestHandler, legacyCompat: { enabled: true } }));
  app.use('/rpc', handlers.jsonRpcHandler(options));
  app.use('/rest', handlers.restHandler(options));
  if (rpc) {
    const now = serverGrpc();
    const old = compatGrpc();
    rpc.addService(now.A2AService, now.grpcService({ requestHandler, userBuilder: now.UserBuilder.noAuthentication }));
    rpc.addService(old.LegacyA2AService, old.legacyGrpcService({ requestHandler, userBuilder: now.UserBuilder.noAuthentication }));
  }
  console.log(base);
});
process.stdin.on('end', () => process.exit(0)).resume();
