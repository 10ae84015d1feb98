// Has cedar-for-agents' schema generator write schemas: one job a line in, one answer a line out.
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';

const { generateSchema } = createRequire(import.meta.url)('@cedar-policy/mcp-schema-generator-wasm');

for await (const line of createInterface({ input: process.stdin })) {
  const { stub, tools, config } = JSON.parse(line);
  let answer;
  try {
    const { isOk, schema, error } = JSON.parse(generateSchema(stub, tools, JSON.stringify(config)));
    answer = { ok: isOk, schema: schema ?? '', error: error ?? '' };
  } catch (e) {
    answer = { ok: false, schema: '', error: `trapped: ${e}` };
  }
  console.log(JSON.stringify(answer));
}
