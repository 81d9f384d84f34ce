// The peers of bench a2a: `a2a_peers.mjs sdk` is an echo agent on the official SDK, `bare` is node:http that echoes a
// result of the same shape. Each prints its port and serves until its standard input ends.
import { createRequire } from 'node:module';
import { createServer } from 'node:http';
const from = createRequire(process.cwd() + '/build/npm/package.json');
process.stdin.on('end', () => process.exit(0)).resume();

if (process.argv[2] === 'bare') {
  const server = createServer((request, response) => {
    let body = '';
    request.on('data', (part) => (body += part));
    request.on('end', () => {
      const { id, params } = JSON.parse(body);
      const text = JSON.stringify({
        jsonrpc: '2.0', id,
        result: { task: { id: 't', contextId: 'c', status: { state: 'TASK_STATE_COMPLETED' }, history: [params.message],
          artifacts: [{ artifactId: 'a', parts: [{ text: 'done' }] }] } },
      });
      response.writeHead(200, { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(text) });
      response.end(text);
    });
  });
  server.listen(0, '127.0.0.1', () => console.log(server.address().port));
} else {
  const { DefaultRequestHandler, InMemoryTaskStore, AgentEvent } = from('@a2a-js/sdk/server');
  const { jsonRpcHandler, UserBuilder } = from('@a2a-js/sdk/server/express');
  const express = from('express');
  const part = (text) => ({ content: { $case: 'text', value: text }, metadata: undefined, filename: '', mediaType: '' });
  class Agent {
    async execute(request, bus) {
      const { taskId, contextId, userMessage } = request;
      const words = (userMessage.parts[0].content?.value ?? '').split(' ');
      const status = (state) => bus.publish(AgentEvent.statusUpdate({
        taskId, contextId, metadata: undefined, status: { state, message: undefined, timestamp: new Date().toISOString() },
      }));
      const artifact = (text, append, lastChunk) => bus.publish(AgentEvent.artifactUpdate({
        taskId, contextId, append, lastChunk, metadata: undefined,
        artifact: { artifactId: 'a', name: '', description: '', parts: [part(text)], metadata: undefined, extensions: [] },
      }));
      bus.publish(AgentEvent.task({
        id: taskId, contextId, status: { state: 1, message: undefined, timestamp: new Date().toISOString() }, artifacts: [],
        history: [userMessage], metadata: undefined,
      }));
      status(2);
      const count = words[0] === 'stream' ? Number(words[1]) : 1;
      for (let n = 0; n < count; ++n) artifact('done', n > 0, n + 1 === count);
      status(3);
      bus.finished();
    }
    async cancelTask() {}
  }
  const card = {
    name: 'sdk', description: 'Answers.', version: '1.0.0', provider: undefined, documentationUrl: undefined, iconUrl: undefined,
    supportedInterfaces: [{ url: 'http://127.0.0.1/', protocolBinding: 'JSONRPC', tenant: '', protocolVersion: '1.0' }],
    capabilities: { streaming: true, pushNotifications: false, extensions: [], extendedAgentCard: false },
    securitySchemes: {}, securityRequirements: [], defaultInputModes: ['text/plain'], defaultOutputModes: ['text/plain'],
    skills: [], signatures: [],
  };
  const requestHandler = new DefaultRequestHandler(card, new InMemoryTaskStore(), new Agent());
  const app = express();
  app.use('/', jsonRpcHandler({ requestHandler, userBuilder: UserBuilder.noAuthentication }));
  const listener = app.listen(0, '127.0.0.1', () => console.log(listener.address().port));
}
