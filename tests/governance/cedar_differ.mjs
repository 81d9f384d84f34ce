// Asks the public engine's WebAssembly build what cedar_differ has asked ours, line by line from stdin, and counts
// where the two differ: decisions, determining policies, policies in error, verdicts of the validator.
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';
import { resolve } from 'node:path';

const cedar = createRequire(resolve('build/npm/package.json'))('@cedar-policy/cedar-wasm/nodejs');
const count = { sets: 0, decisions: 0, allowed: 0, withErrors: 0, different: 0, skipped: 0, validated: 0, invalid: 0,
  validatedDifferent: 0 };
let shown = 0;
const differ = (what) => { if (++shown <= 10) console.error(JSON.stringify(what)); };
const same = (a, b) => JSON.stringify([...a].sort()) === JSON.stringify([...b].sort());
let schema;

function compare(line) {
  ++count.sets;
  const policies = { staticPolicies: line.policies };
  const id = `set-${line.seed}`;
  const parsed = cedar.preparsePolicySet(id, policies);
  if (parsed.type !== 'success') {
    count.different += line.requests.length;
    return differ({ seed: line.seed, parsed });
  }
  for (const asked of line.requests) {
    const { decision, reason, errors, ...request } = asked;
    const answer = cedar.statefulIsAuthorized({ ...request, entities: line.entities, preparsedPolicySetId: id });
    if (answer.type !== 'success') {
      ++count.skipped;
      differ({ seed: line.seed, answer });
      continue;
    }
    const theirs = answer.response;
    const failed = theirs.diagnostics.errors.map((one) => one.policyId);
    ++count.decisions;
    if (decision === 'allow') ++count.allowed;
    if (errors.length > 0) ++count.withErrors;
    if (theirs.decision === decision && same(theirs.diagnostics.reason, reason) && same(failed, errors)) continue;
    ++count.different;
    differ({ seed: line.seed, request, ours: { decision, reason, errors }, theirs });
  }
  const verdict = cedar.validate({ schema, policies, validationSettings: { mode: 'strict' } });
  if (verdict.type !== 'success') return differ({ seed: line.seed, verdict });
  const faults = new Map(verdict.validationErrors.map((one) => [one.policyId, one.error.message]));
  for (const [name, ours] of Object.entries(line.valid)) {
    ++count.validated;
    if (!ours) ++count.invalid;
    if (ours !== faults.has(name)) continue;
    ++count.validatedDifferent;
    differ({ seed: line.seed, policy: line.policies[name], oursValid: ours, theirs: faults.get(name) });
  }
}

for await (const text of createInterface({ input: process.stdin })) {
  const line = JSON.parse(text);
  if (line.schema) schema = line.schema;
  else compare(line);
}
console.log(JSON.stringify(count));
process.exit(count.different + count.validatedDifferent + count.skipped === 0 && count.decisions > 0 ? 0 : 1);
