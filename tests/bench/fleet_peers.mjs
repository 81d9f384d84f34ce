// The peers of bench_fleet: the same agents (five turns with one trivial tool call each, then an answer) under a
// model that answers at once, in frameworks from npm and in a bare loop. Prints "NAME COUNT STEPS_PER_CPU_S
// STEPS_PER_S KIB_PER_AGENT" a line, each case in a process of its own. Looks for the packages in build/npm.
import { spawnSync } from 'node:child_process';
import { createRequire } from 'node:module';
import { resolve } from 'node:path';
import { pathToFileURL, fileURLToPath } from 'node:url';

const STEPS = 5;
const require = createRequire(resolve('build/npm/package.json'));
const load = async (name) => import(pathToFileURL(require.resolve(name)));
const args = (n) => JSON.stringify({ a: n, b: n });

// Each gives a function that runs one agent to its end and returns how many tool calls it made.
const frameworks = {
  async bare() {
    const model = async (messages) => {
      const n = messages.filter((m) => m.role === 'tool').length;
      return n < STEPS
        ? { role: 'assistant', content: '', tool_calls: [{ id: `c${n}`, function: { name: 'add', arguments: args(n) } }] }
        : { role: 'assistant', content: 'done' };
    };
    const tools = { add: async ({ a, b }) => a + b };
    return async () => {
      const messages = [{ role: 'system', content: 'You add numbers.' }, { role: 'user', content: 'Add.' }];
      let calls = 0;
      for (;;) {
        const said = await model(messages);
        messages.push(said);
        if (!said.tool_calls) return calls;
        for (const call of said.tool_calls) {
          const result = await tools[call.function.name](JSON.parse(call.function.arguments));
          messages.push({ role: 'tool', tool_call_id: call.id, content: JSON.stringify(result) });
          ++calls;
        }
      }
    };
  },
  async 'ai-sdk'() {
    const { generateText, tool, isStepCount, stepCountIs } = await load('ai');
    const { z } = await load('zod');
    const usage = { inputTokens: { total: 10 }, outputTokens: { total: 5 } };
    const model = {
      specificationVersion: 'v3', provider: 'instant', modelId: 'instant', supportedUrls: {},
      async doGenerate({ prompt }) {
        const n = prompt.filter((m) => m.role === 'tool').length;
        return n < STEPS
          ? { content: [{ type: 'tool-call', toolCallId: `c${n}`, toolName: 'add', input: args(n) }], finishReason: { unified: 'tool-calls' }, usage, warnings: [] }
          : { content: [{ type: 'text', text: 'done' }], finishReason: { unified: 'stop' }, usage, warnings: [] };
      },
    };
    const add = tool({ description: 'Adds two numbers.', inputSchema: z.object({ a: z.number(), b: z.number() }), execute: async ({ a, b }) => a + b });
    const stopWhen = (stepCountIs ?? isStepCount)(20);
    return async () => {
      const result = await generateText({ model, system: 'You add numbers.', prompt: 'Add.', tools: { add }, stopWhen });
      return result.steps.reduce((sum, step) => sum + step.toolCalls.length, 0);
    };
  },
  async langgraph() {
    const { createReactAgent } = await load('@langchain/langgraph/prebuilt');
    const { BaseChatModel } = await load('@langchain/core/language_models/chat_models');
    const { AIMessage } = await load('@langchain/core/messages');
    const { tool } = await load('@langchain/core/tools');
    const { z } = await load('zod');
    class Instant extends BaseChatModel {
      _llmType() {
        return 'instant';
      }
      bindTools() {
        return this;
      }
      async _generate(messages) {
        const n = messages.filter((m) => m.getType() === 'tool').length;
        const message = n < STEPS
          ? new AIMessage({ content: '', tool_calls: [{ id: `c${n}`, name: 'add', args: { a: n, b: n }, type: 'tool_call' }] })
          : new AIMessage('done');
        return { generations: [{ text: '', message }] };
      }
    }
    const add = tool(async ({ a, b }) => String(a + b), { name: 'add', description: 'Adds two numbers.', schema: z.object({ a: z.number(), b: z.number() }) });
    const agent = createReactAgent({ llm: new Instant({}), tools: [add], prompt: 'You add numbers.' });
    return async () => {
      const { messages } = await agent.invoke({ messages: [{ role: 'user', content: 'Add.' }] }, { recursionLimit: 50 });
      return messages.filter((m) => m.getType() === 'tool').length;
    };
  },
  async 'openai-agents'() {
    const { Agent, Runner, tool, Usage, setTracingDisabled } = await load('@openai/agents');
    const { z } = await load('zod');
    setTracingDisabled(true);
    const model = {
      async getResponse(request) {
        const items = Array.isArray(request.input) ? request.input : [];
        const n = items.filter((item) => item.type === 'function_call_result').length;
        const output = n < STEPS
          ? [{ type: 'function_call', id: `f${n}`, callId: `c${n}`, name: 'add', status: 'completed', arguments: args(n) }]
          : [{ type: 'message', id: 'm', role: 'assistant', status: 'completed', content: [{ type: 'output_text', text: 'done' }] }];
        return { output, usage: new Usage({ inputTokens: 10, outputTokens: 5, totalTokens: 15 }) };
      },
      async *getStreamedResponse() {},
    };
    let calls = 0;
    const add = tool({ name: 'add', description: 'Adds two numbers.', parameters: z.object({ a: z.number(), b: z.number() }), execute: async ({ a, b }) => { ++calls; return String(a + b); } });
    const agent = new Agent({ name: 'adder', instructions: 'You add numbers.', model, tools: [add] });
    const runner = new Runner({ tracingDisabled: true });
    return async () => {
      await runner.run(agent, 'Add.', { maxTurns: 20 });
      const made = calls;
      calls = 0;
      return made;
    };
  },
};

async function measure(name, count) {
  const agent = await frameworks[name]();
  if ((await agent()) !== STEPS) throw new Error('the agent did not make its calls');
  for (let i = 0; i < 200; ++i) await agent(); // warm
  globalThis.gc?.();
  const memory = process.memoryUsage().rss;
  const cpu = process.cpuUsage();
  const start = process.hrtime.bigint();
  const made = await Promise.all(Array.from({ length: count }, agent));
  const seconds = Number(process.hrtime.bigint() - start) * 1e-9;
  const used = process.cpuUsage(cpu);
  const steps = made.reduce((sum, one) => sum + one, 0);
  if (steps !== STEPS * count) throw new Error(`${steps} calls instead of ${STEPS * count}`);
  const kib = Math.max(0, process.resourceUsage().maxRSS - memory / 1024) / count;
  console.log(name, count, (steps / ((used.user + used.system) * 1e-6)).toFixed(0), (steps / seconds).toFixed(0), kib.toFixed(1));
}

if (process.argv.length > 2) {
  await measure(process.argv[2], Number(process.argv[3]));
} else {
  for (const name of Object.keys(frameworks)) {
    // At a hundred thousand the frameworks take minutes and gigabytes.
    for (const count of [100, 1000, 10000, ...(name === 'bare' ? [100000] : [])]) {
      const runs = [];
      // A run of ten thousand takes them up to two minutes.
      for (let i = 0; i < (count < 10000 ? 5 : 1); ++i) {
        process.stderr.write(`${name}, ${count} agents\n`);
        const child = spawnSync(process.execPath, ['--expose-gc', fileURLToPath(import.meta.url), name, String(count)], { encoding: 'utf8' });
        const line = child.stdout.trim();
        if (child.status !== 0 || !line) {
          console.log(`skipped: ${name}: ${(child.stderr.match(/^\w*Error.*/m) ?? ['failed'])[0]}`);
          break;
        }
        runs.push(line.split(' '));
      }
      if (runs.length === 0) break;
      console.log(runs.sort((a, b) => a[2] - b[2])[Math.floor(runs.length / 2)].join(' '));
    }
  }
}
