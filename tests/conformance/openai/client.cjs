// The official client against AMBIT_URL. Prints one line of JSON; exit code 1 if something failed.
const { OpenAI } = require('openai');

const model = process.env.AMBIT_MODEL || 'desk';
const make = (apiKey) => new OpenAI({ baseURL: process.env.AMBIT_URL + '/v1', apiKey, maxRetries: 0 });
const client = make(process.env.AMBIT_TOKEN);
const failures = [];
let passed = 0;

function assert(good, what) {
  if (!good) throw new Error(what);
}
async function test(name, body) {
  try {
    await body();
    passed += 1;
  } catch (error) {
    failures.push(`${name}: ${error.message}`);
  }
}
async function refused(call, status, check) {
  try {
    await call();
  } catch (error) {
    assert(error.status === status, `status ${error.status}, not ${status}: ${error.message}`);
    check(error);
    return;
  }
  throw new Error('it was not refused');
}

const ask = [{ role: 'user', content: 'Report INC-1: service checkout, host web-1, symptom "slow".' }];
const weather = {
  type: 'function',
  function: {
    name: 'search_log',
    description: 'Search a file for a pattern',
    parameters: {
      type: 'object',
      properties: { file: { type: 'string' }, pattern: { type: 'string' } },
      required: ['file', 'pattern'],
    },
  },
};

(async () => {
  await test('models', async () => {
    const names = [];
    for await (const one of client.models.list()) names.push(one.id);
    assert(names.includes(model), names.join());
    assert((await client.models.retrieve(model)).id === model, 'retrieve');
  });
  let first;
  await test('chat', async () => {
    first = await client.chat.completions.create({ model, messages: ask, temperature: 0, max_tokens: 40 });
    assert(first.object === 'chat.completion', first.object);
    assert(typeof first.choices[0].message.content === 'string', 'no content');
    assert(['stop', 'length'].includes(first.choices[0].finish_reason), first.choices[0].finish_reason);
    assert(first.usage.total_tokens === first.usage.prompt_tokens + first.usage.completion_tokens, 'usage');
  });
  await test('a conversation that comes back is not computed again', async () => {
    const begun = [{ role: 'user', content: 'Count the lamps in hall ' + '7 and 12 '.repeat(20) }];
    const one = await client.chat.completions.create({ model, messages: begun, temperature: 0, max_tokens: 8 });
    const messages = [...begun, one.choices[0].message, { role: 'user', content: 'And the doors?' }];
    const two = await client.chat.completions.create({ model, messages, temperature: 0, max_tokens: 8 });
    const cached = two.usage.prompt_tokens_details.cached_tokens;
    assert(cached >= one.usage.prompt_tokens - 1, `${cached} of the first ${one.usage.prompt_tokens} tokens were kept`);
  });
  await test('chat with a seed is the same twice', async () => {
    const say = () => client.chat.completions.create({ model, messages: ask, temperature: 1, seed: 7, max_tokens: 30 });
    const [a, b] = await Promise.all([say(), say()]);
    assert(a.choices[0].message.content === b.choices[0].message.content, 'two answers');
  });
  await test('streaming says the same as the whole', async () => {
    const stream = await client.chat.completions.create({
      model, messages: ask, temperature: 0, max_tokens: 40, stream: true, stream_options: { include_usage: true },
    });
    let text = '';
    let finish = null;
    let usage = null;
    for await (const chunk of stream) {
      if (chunk.usage) usage = chunk.usage;
      if (chunk.choices.length === 0) continue;
      text += chunk.choices[0].delta.content || '';
      finish = chunk.choices[0].finish_reason || finish;
    }
    assert(text === first.choices[0].message.content, JSON.stringify([text, first.choices[0].message.content]));
    assert(finish === first.choices[0].finish_reason, finish);
    assert(usage && usage.completion_tokens === first.usage.completion_tokens, 'usage');
  });
  await test('tools', async () => {
    const made = await client.chat.completions.create({
      model, messages: ask, tools: [weather], tool_choice: 'required', temperature: 0, max_tokens: 120,
    });
    const call = made.choices[0].message.tool_calls[0];
    assert(made.choices[0].finish_reason === 'tool_calls', made.choices[0].finish_reason);
    assert(call.type === 'function' && call.function.name === 'search_log', JSON.stringify(call));
    const said = JSON.parse(call.function.arguments);
    assert(typeof said.file === 'string' && typeof said.pattern === 'string', call.function.arguments);
    const next = await client.chat.completions.create({
      model, temperature: 0, max_tokens: 40, tools: [weather],
      messages: [...ask, made.choices[0].message, { role: 'tool', tool_call_id: call.id, content: 'nothing found' }],
    });
    assert(next.choices.length === 1, 'no answer to the result');
  });
  await test('tools in a stream', async () => {
    const runner = client.chat.completions.stream({
      model, messages: ask, tools: [weather], tool_choice: 'required', temperature: 0, max_tokens: 120,
    });
    const whole = await runner.finalChatCompletion();
    assert(whole.choices[0].message.tool_calls[0].function.name === 'search_log', JSON.stringify(whole));
  });
  await test('structured output', async () => {
    const made = await client.chat.completions.create({
      model, messages: ask, temperature: 0, max_tokens: 120,
      response_format: {
        type: 'json_schema',
        json_schema: {
          name: 'verdict',
          schema: {
            type: 'object',
            properties: { severity: { type: 'string', enum: ['low', 'high'] }, urgent: { type: 'boolean' } },
            required: ['severity', 'urgent'],
            additionalProperties: false,
          },
        },
      },
    });
    const said = JSON.parse(made.choices[0].message.content);
    assert(['low', 'high'].includes(said.severity) && typeof said.urgent === 'boolean', made.choices[0].message.content);
  });
  await test('logprobs', async () => {
    const made = await client.chat.completions.create({
      model, messages: ask, temperature: 0, max_tokens: 5, logprobs: true, top_logprobs: 2,
    });
    const tokens = made.choices[0].logprobs.content;
    assert(tokens.length > 0 && tokens[0].top_logprobs.length === 2, JSON.stringify(tokens));
    assert(tokens.every((token) => token.logprob <= 0), 'a logprob above 0');
  });
  await test('stop', async () => {
    const text = first.choices[0].message.content;
    const word = text.trim().split(/\s+/)[1];
    if (!word) return;
    const made = await client.chat.completions.create({ model, messages: ask, temperature: 0, max_tokens: 40, stop: [word] });
    assert(!made.choices[0].message.content.includes(word), made.choices[0].message.content);
    assert(made.choices[0].finish_reason === 'stop', made.choices[0].finish_reason);
  });
  await test('completions', async () => {
    const made = await client.completions.create({ model, prompt: 'Report INC', max_tokens: 8, temperature: 0, logprobs: 1 });
    assert(made.object === 'text_completion' && typeof made.choices[0].text === 'string', JSON.stringify(made));
    let text = '';
    const stream = await client.completions.create({ model, prompt: 'Report INC', max_tokens: 8, temperature: 0, stream: true });
    for await (const chunk of stream) text += chunk.choices[0].text;
    assert(text === made.choices[0].text, JSON.stringify([text, made.choices[0].text]));
  });
  await test('embeddings', async () => {
    const made = await client.embeddings.create({ model, input: ['a disk is full', 'the disk is full'] });
    assert(made.data.length === 2 && made.data[0].embedding.length > 8, 'no vectors');
    const floats = await client.embeddings.create({ model, input: 'a disk is full', encoding_format: 'float' });
    const same = floats.data[0].embedding.every((value, i) => Math.abs(value - made.data[0].embedding[i]) < 1e-6);
    assert(same, 'base64 and float differ');
    const length = Math.hypot(...floats.data[0].embedding);
    assert(Math.abs(length - 1) < 1e-3, `length ${length}`);
  });
  await test('wrong requests', async () => {
    const chat = (more) => () => client.chat.completions.create({ model, messages: ask, ...more });
    await refused(chat({ model: 'dessk' }), 404, (e) => assert(e.code === 'model_not_found' && e.param === 'model', e.code));
    await refused(chat({ messages: [] }), 400, (e) => assert(e.param === 'messages' && e.type === 'invalid_request_error', e.param));
    await refused(chat({ messages: [{ role: 'robot', content: 'x' }] }), 400, (e) => assert(e.param === 'messages[0].role', e.param));
    await refused(chat({ temperature: 9 }), 400, (e) => assert(e.param === 'temperature', e.param));
    await refused(chat({ wibble: 1 }), 400, (e) => assert(e.code === 'unknown_parameter', e.code));
    await refused(chat({ n: 2 }), 400, (e) => assert(e.param === 'n', e.param));
    await refused(chat({ response_format: { type: 'json_schema' } }), 400, (e) => assert(e.param.startsWith('response_format'), e.param));
    await refused(chat({ messages: [{ role: 'user', content: 'x '.repeat(20000) }] }), 400, (e) => assert(e.code === 'context_length_exceeded', e.code));
    await refused(() => make('a-wrong-token-altogether').models.list(), 401, (e) => assert(e.code === 'invalid_api_key', e.code));
  });
  console.log(JSON.stringify({ suite: 'openai', client: require('openai/version').VERSION, passed, failed: failures.length, failures }));
  process.exit(failures.length === 0 ? 0 : 1);
})();
