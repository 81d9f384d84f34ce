// sdk_client.cjs URL BINDING VERSION: the official SDK as the client of an agent that does what a message's first word says
// (scripted_runner.h). One line a check; the exit code is the number of those that failed.
const http = require('node:http');
const { sdk, client, grpcClient } = require('./sdk.cjs');
const { ClientFactory, JsonRpcTransportFactory, RestTransportFactory, DefaultAgentCardResolver } = client();
const [url, binding, version] = process.argv.slice(2);

const STATE = { SUBMITTED: 1, WORKING: 2, COMPLETED: 3, FAILED: 4, CANCELED: 5, INPUT_REQUIRED: 6, REJECTED: 7, AUTH_REQUIRED: 8 };
let failed = 0;
const expect = (name, good, seen) => {
  if (!good) failed += 1;
  console.log(`${good ? 'ok' : 'FAILED'} sdk->ours ${binding} ${version} ${name}${good ? '' : ': ' + JSON.stringify(seen)}`);
};
let number = 0;
const part = (text) => ({ content: { $case: 'text', value: text }, metadata: undefined, filename: '', mediaType: '' });
const message = (text, task = '') => ({
  tenant: '', metadata: undefined, configuration: undefined,
  message: {
    messageId: `${binding}-${version}-${process.pid}-${++number}`, contextId: '', taskId: task, role: 1, parts: [part(text)],
    metadata: undefined, extensions: [], referenceTaskIds: [],
  },
});
const now = (text) => ({
  ...message(text),
  configuration: { acceptedOutputModes: [], taskPushNotificationConfig: undefined, historyLength: undefined, returnImmediately: true },
});
const textOf = (artifacts) => artifacts.flatMap((a) => a.parts).map((p) => p.content?.value ?? '').join('');
const counted = (n) => [...Array(n).keys()].map((i) => i + ' ').join('');

// What a client holds in the end.
async function follow(events) {
  let text = '';
  let state = 0;
  let taskId = '';
  let count = 0;
  for await (const event of events) {
    const { $case: kind, value } = event.payload;
    count += 1;
    if (kind === 'task') {
      text = textOf(value.artifacts);
      state = value.status.state;
      taskId = value.id;
    } else if (kind === 'statusUpdate') {
      state = value.status.state;
    } else if (kind === 'artifactUpdate') {
      text += textOf([value.artifact]);
    }
  }
  return { text, state, taskId, count };
}
async function refusal(promise) {
  try {
    await promise;
    return 'no error';
  } catch (error) {
    return error.constructor.name + ' ' + (error.message ?? '');
  }
}

// A web hook that keeps what it hears.
async function hook() {
  const heard = [];
  const server = http.createServer((request, response) => {
    let body = '';
    request.on('data', (part) => { body += part; });
    request.on('end', () => {
      heard.push({ token: request.headers['x-a2a-notification-token'], authorization: request.headers.authorization, body: JSON.parse(body) });
      response.end();
    });
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  return { heard, url: `http://127.0.0.1:${server.address().port}/hook`, close: () => server.close() };
}
const isCompleted = ({ body }) => /COMPLETED|completed/.test((body.statusUpdate ?? body.task ?? body).status?.state ?? '');

async function main() {
  const compat = { legacyCompat: { enabled: version === '0.3' } };
  const resolver = new DefaultAgentCardResolver(compat);
  const card = await resolver.resolve(url);
  expect('card', card.name === 'clerk' && card.supportedInterfaces.length >= 2, card);
  const jwks = await (await fetch(url + '/.well-known/jwks.json')).json();
  const signed = await (await fetch(url + '/.well-known/agent-card.json', { headers: { 'A2A-Version': '1.0' } })).json();
  const verify = sdk.verifyAgentCardSignature(async (kid) => jwks.keys.find((key) => key.kid === kid));
  expect('signed card', await verify(sdk.AgentCard.fromJSON(signed)).then(() => true, () => false), signed);
  card.supportedInterfaces = card.supportedInterfaces.filter((i) => i.protocolBinding === binding && i.protocolVersion === version);
  const agent = await new ClientFactory({
    transports: binding === 'GRPC'
      ? [new (grpcClient().GrpcTransportFactory)(compat)]
      : [new JsonRpcTransportFactory(compat), new RestTransportFactory(compat)],
    cardResolver: resolver,
  }).createFromAgentCard(card);

  const done = await agent.sendMessage(message('hi there'));
  expect('send', done.status?.state === STATE.COMPLETED && textOf(done.artifacts) === 'done: hi there', done);
  const direct = await agent.sendMessage(message('message'));
  expect('direct message', direct.parts?.[0].content.value === 'just this', direct);
  const got = await agent.getTask({ tenant: '', id: done.id, historyLength: undefined });
  expect('get', got.id === done.id && got.history.length === done.history.length, got);

  const asks = await agent.sendMessage(message('input'));
  expect('input required', asks.status?.state === STATE.INPUT_REQUIRED, asks);
  const answered = await agent.sendMessage(message('this one', asks.id));
  expect('multi-turn', answered.id === asks.id && answered.status?.state === STATE.COMPLETED && answered.history.length === 3, answered);

  const streamed = await follow(agent.sendMessageStream(message('stream 30')));
  expect('stream', streamed.text === counted(30) && streamed.state === STATE.COMPLETED && streamed.count === 33, streamed);

  const slow = await agent.sendMessage(now('stream 200'));
  expect('return immediately', slow.status?.state === STATE.SUBMITTED || slow.status?.state === STATE.WORKING, slow);
  const both = await Promise.all([1, 2].map(() => follow(agent.resubscribeTask({ tenant: '', id: slow.id }))));
  expect('resubscribe, twice', both.every((b) => b.text === counted(200) && b.state === STATE.COMPLETED), both);

  const hanging = await agent.sendMessage(now('hang'));
  const watching = follow(agent.resubscribeTask({ tenant: '', id: hanging.id }));
  await new Promise((resolve) => setTimeout(resolve, 50));
  const canceled = await agent.cancelTask({ tenant: '', id: hanging.id, metadata: undefined });
  expect('cancel', canceled.status?.state === STATE.CANCELED, canceled);
  expect('cancel is told', (await watching).state === STATE.CANCELED, null);

  expect('task not found', /TaskNotFound/.test(await refusal(agent.getTask({ tenant: '', id: 'none', historyLength: undefined }))),
    await refusal(agent.getTask({ tenant: '', id: 'none', historyLength: undefined })));
  expect('task not cancelable', /TaskNotCancelable/.test(await refusal(agent.cancelTask({ tenant: '', id: done.id, metadata: undefined }))), null);

  const failedTask = await agent.sendMessage(message('fail'));
  expect('failed', failedTask.status?.state === STATE.FAILED, failedTask);

  const config = {
    tenant: '', id: 'c1', taskId: asks.id, url: 'https://example.com/hook', token: 't0ken',
    authentication: { scheme: 'Bearer', credentials: 'cr3d' },
  };
  const made = await agent.createTaskPushNotificationConfig(config);
  expect('push config', made.url === config.url && made.id === 'c1', made);
  const listed = await agent.listTaskPushNotificationConfig({ tenant: '', taskId: asks.id, pageSize: 0, pageToken: '' });
  expect('push config list', listed.configs.length === 1 && !JSON.stringify(listed).includes('cr3d'), listed);
  await agent.deleteTaskPushNotificationConfig({ tenant: '', taskId: asks.id, id: 'c1' });
  const empty = await agent.listTaskPushNotificationConfig({ tenant: '', taskId: asks.id, pageSize: 0, pageToken: '' });
  expect('push config delete', empty.configs.length === 0, empty);

  const target = await hook();
  const told = message('stream 3');
  told.configuration = {
    acceptedOutputModes: [], historyLength: undefined, returnImmediately: false,
    taskPushNotificationConfig: { tenant: '', id: 'c2', taskId: '', url: target.url, token: 't0ken', authentication: { scheme: 'Bearer', credentials: 'cr3d' } },
  };
  const pushed = await agent.sendMessage(told);
  expect('send with push', pushed.status?.state === STATE.COMPLETED, pushed);
  for (let n = 0; n < 100 && !target.heard.some(isCompleted); ++n) await new Promise((resolve) => setTimeout(resolve, 50));
  expect('push is told', target.heard.some(isCompleted) && target.heard.every((one) => one.authorization === 'Bearer cr3d'), target.heard);
  target.close();

  if (version === '1.0') {
    const seen = [];
    let pageToken = '';
    do {
      const page = await agent.listTasks({
        tenant: '', contextId: '', status: 0, pageSize: 3, pageToken, historyLength: undefined, statusTimestampAfter: undefined,
        includeArtifacts: false,
      });
      seen.push(...page.tasks.map((t) => t.id));
      pageToken = page.nextPageToken;
    } while (pageToken);
    expect('paging', seen.includes(done.id) && new Set(seen).size === seen.length, seen);
  }
}

main().then(() => process.exit(failed), (error) => {
  console.log('FAILED ' + (error.stack ?? error));
  process.exit(100);
});
