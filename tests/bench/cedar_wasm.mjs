// The peer of bench_policy: the same policies and the same question, asked of the public engine's WebAssembly
// build. Prints "COUNT P50_US P99_US" a line. Looks for the package in build/npm.
import { createRequire } from 'node:module';
import { resolve } from 'node:path';
import { performance } from 'node:perf_hooks';

let cedar;
try {
  cedar = createRequire(resolve('build/npm/package.json'))('@cedar-policy/cedar-wasm/nodejs');
} catch (error) {
  console.log(`the package @cedar-policy/cedar-wasm is not in build/npm (${error.code})`);
  process.exit(1);
}

function policies(count) {
  let text = '';
  for (let i = 1; i < count; ++i)
    text += `permit(principal == Agent::"agent-${i % 97}", action == Action::"tool_call", ` +
      `resource == Tool::"tool-${i}") when { context.arguments.path like "logs/*" };\n`;
  return text + 'permit(principal in Fleet::"desk", action == Action::"tool_call", resource == Tool::"grep") ' +
    'when { context.arguments.path like "logs/*" && !context.tainted };\n';
}

const entity = (type, id, parents = []) => ({ uid: { type, id }, attrs: {}, parents });
const question = {
  principal: { type: 'Agent', id: 'clerk' },
  action: { type: 'Action', id: 'tool_call' },
  resource: { type: 'Tool', id: 'grep' },
  context: { arguments: { path: 'logs/web.log', pattern: 'error' }, tainted: false },
  entities: [entity('Agent', 'clerk', [{ type: 'Fleet', id: 'desk' }]), entity('Fleet', 'desk'), entity('Tool', 'grep')],
};

for (const count of [1, 20, 100, 1000, 10000]) {
  const set = { staticPolicies: policies(count) };
  let ask = () => cedar.isAuthorized({ ...question, policies: set });
  // Parsed once where the build can do that: its best is what we compare with.
  if (cedar.preparsePolicySet && cedar.statefulIsAuthorized) {
    const name = `set-${count}`;
    if (cedar.preparsePolicySet(name, set).type !== 'success') throw new Error('the policies do not parse');
    ask = () => cedar.statefulIsAuthorized({ ...question, preparsedPolicySetId: name });
  }
  const answer = ask();
  if (answer.type !== 'success' || answer.response.decision !== 'allow') {
    console.log(`${count} policies: ${JSON.stringify(answer)}`);
    process.exit(1);
  }
  const times = [];
  const end = performance.now() + 3000;
  while (times.length < 20000 && (performance.now() < end || times.length < 50)) {
    const start = performance.now();
    ask();
    times.push((performance.now() - start) * 1000);
  }
  times.sort((a, b) => a - b);
  console.log(`${count} ${times[times.length >> 1]} ${times[Math.floor(times.length * 0.99)]}`);
}
