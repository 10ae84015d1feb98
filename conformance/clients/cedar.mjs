// Asks Cedar's own engine. Each line of the input is {policies, schema, entities, requests}, each request with the places of
// the entities it sees. Each line of the output is what came of it: an answer for each request, and what the validator says
// where there is a schema.
import { createInterface } from 'node:readline';
import cedar from '@cedar-policy/cedar-wasm/nodejs';

const ids = (list) => list.map((e) => e.policyId);

function ask({ sees, ...request }, all) {
  const entities = sees.map((i) => all[i]);
  const answer = cedar.statefulIsAuthorized({ ...request, preparsedPolicySetId: 'p', entities, validateRequest: false });
  if (answer.type !== 'success') return { failed: JSON.stringify(answer.errors) };
  const { decision, diagnostics } = answer.response;
  return { decision, reasons: diagnostics.reason, errors: ids(diagnostics.errors) };
}

function judge(job) {
  const policies = { staticPolicies: job.policies };
  const parsed = cedar.preparsePolicySet('p', policies);
  if (parsed.type !== 'success') return { failed: JSON.stringify(parsed.errors) };
  const out = { answers: job.requests.map((r) => ask(r, job.entities)) };
  if (job.schema) {
    const v = cedar.validate({ schema: job.schema, policies });
    if (v.type !== 'success') return { failed: JSON.stringify(v.errors) };
    const said = (list) => list.map((e) => ({ policy: e.policyId, message: e.error.message, help: e.error.help ?? '' }));
    out.errors = said(v.validationErrors);
    out.warnings = said(v.validationWarnings);
  }
  return out;
}

process.stdout.write(JSON.stringify({ version: cedar.getCedarSDKVersion(), language: cedar.getCedarLangVersion() }) + '\n');
for await (const line of createInterface({ input: process.stdin })) {
  process.stdout.write(JSON.stringify(judge(JSON.parse(line))) + '\n');
}
