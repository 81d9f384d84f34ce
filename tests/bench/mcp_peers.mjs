// The peers of bench mcp, on the official SDK v2: `server-stdio` and `server-http` offer one tool, echo; `client-stdio CALLS IN_FLIGHT
// COMMAND...` and `client-http CALLS IN_FLIGHT URL` call it and print {"perSecond", "cpuUs"} of their own process.
import { createRequire } from 'node:module';
import { createServer } from 'node:http';
const from = createRequire(process.cwd() + '/build/npm/package.json');
const [, , mode, ...rest] = process.argv;

function makeServer() {
  const { Server } = from('@modelcontextprotocol/server');
  const server = new Server({ name: 'echo', version: '1' }, { capabilities: { tools: {} } });
  server.setRequestHandler('tools/list', () => ({
    tools: [{ name: 'echo', inputSchema: { type: 'object', properties: { text: { type: 'string' } } } }],
  }));
  server.setRequestHandler('tools/call', (request) => ({
    content: [{ type: 'text', text: String(request.params.arguments?.text ?? '') }],
  }));
  return server;
}

async function call(client, calls, inFlight) {
  const one = async (count) => {
    for (let n = 0; n < count; ++n) await client.callTool({ name: 'echo', arguments: { text: 'hello' } });
  };
  await one(200);
  const cpu = process.cpuUsage();
  const begin = process.hrtime.bigint();
  await Promise.all(Array.from({ length: inFlight }, () => one(Math.ceil(calls / inFlight))));
  const seconds = Number(process.hrtime.bigint() - begin) / 1e9;
  const used = process.cpuUsage(cpu);
  console.log(JSON.stringify({ perSecond: calls / seconds, cpuUs: (used.user + used.system) / calls }));
  process.exit(0);
}

if (mode === 'server-stdio') {
  from('@modelcontextprotocol/server/stdio').serveStdio(makeServer);
} else if (mode === 'server-http') {
  const handler = from('@modelcontextprotocol/node').toNodeHandler(from('@modelcontextprotocol/server').createMcpHandler(makeServer));
  const server = createServer((request, response) => handler(request, response));
  server.listen(0, '127.0.0.1', () => console.log('127.0.0.1:' + server.address().port));
} else {
  const [calls, inFlight, target, ...words] = rest;
  const { Client, StreamableHTTPClientTransport } = from('@modelcontextprotocol/client');
  const { StdioClientTransport } = from('@modelcontextprotocol/client/stdio');
  const client = new Client({ name: 'bench', version: '1' }, { versionNegotiation: { mode: 'auto' } });
  await client.connect(mode === 'client-http' ? new StreamableHTTPClientTransport(new URL(target))
    : new StdioClientTransport({ command: target, args: words }));
  await call(client, Number(calls), Number(inFlight));
}
