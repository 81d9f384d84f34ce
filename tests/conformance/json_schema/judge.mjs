// Reads a JSON line a schema (sample_schemas.cpp) and judges its texts with ajv: a text that was
// drawn must be valid. Of instances that a public suite has judged it counts what our language says.
import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

const require = createRequire(pathToFileURL(process.cwd() + "/build/npm/"));
const { default: Ajv } = require("ajv");
const { default: Ajv2020 } = require("ajv/dist/2020.js");
const { default: formats } = require("ajv-formats");

const total = { schemas: 0, refused: 0, drawn: 0, invalid: 0, tight: 0, loose: 0, right: 0, unjudged: 0 };
const compile_us = [];
const of = {};
for await (const line of createInterface({ input: process.stdin })) {
  const each = JSON.parse(line);
  const group = (of[each.group] ??= { schemas: 0, refused: 0, drawn: 0, invalid: 0, tight: 0, loose: 0, right: 0 });
  group.schemas += 1;
  if (each.error) {
    group.refused += 1;
    console.error(`refused: ${each.name}: ${each.error}`);
    continue;
  }
  compile_us.push(each.compile_us);
  let validate = null;
  try {
    const ajv = new (each.group === "draft7" ? Ajv : Ajv2020)({ strict: false, allErrors: false, logger: false });
    formats(ajv);
    validate = ajv.compile(each.schema);
  } catch (error) {
    total.unjudged += 1;
  }
  for (const text of each.samples) {
    group.drawn += 1;
    let valid = false;
    try {
      valid = validate === null || validate(JSON.parse(text));
    } catch {
      valid = false;
    }
    if (valid) continue;
    group.invalid += 1;
    if (!each.loose) console.error(`invalid: ${each.name}: ${text.slice(0, 200)}`);
  }
  for (const { valid, offered } of each.instances) {
    if (valid === offered) group.right += 1;
    else if (valid) group.tight += 1;
    else group.loose += 1;
  }
}
for (const [name, group] of Object.entries(of)) {
  console.log(JSON.stringify({ suite: "json_schema", group: name, ...group }));
  for (const key of Object.keys(group)) total[key] += group[key];
}
compile_us.sort((a, b) => a - b);
const at = (share) => compile_us[Math.min(compile_us.length - 1, Math.floor(compile_us.length * share))];
console.log(JSON.stringify({ suite: "json_schema", compile_us_p50: at(0.5), compile_us_p99: at(0.99) }));
console.log(JSON.stringify({ suite: "json_schema", passed: total.drawn - total.invalid, failed: total.invalid,
  skipped: total.refused }));
process.exit(total.invalid === 0 ? 0 : 1);
