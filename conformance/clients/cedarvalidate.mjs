// Has the Rust engine of Cedar check a schema and hold policies against it: one job in, one answer out.
import { createRequire } from 'node:module';
import { readFileSync } from 'node:fs';

const cedar = createRequire(import.meta.url)('@cedar-policy/cedar-wasm/nodejs');
const { schema, policies } = JSON.parse(readFileSync(0, 'utf8'));
const parsed = cedar.checkParseSchema(schema);
const errors = parsed.type === 'success' ? [] : parsed.errors.map((e) => e.message);
for (const [file, text] of Object.entries(policies)) {
  if (errors.length > 0) break;
  const answer = cedar.validate({ schema, policies: { staticPolicies: text } });
  if (answer.type === 'failure') errors.push(...answer.errors.map((e) => `${file}: ${e.message}`));
  else errors.push(...answer.validationErrors.map((e) => `${file}: ${e.policyId}: ${e.error.message}`));
}
console.log(JSON.stringify({ errors }));
