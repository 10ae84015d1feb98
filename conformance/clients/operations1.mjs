// All operations with the TypeScript SDK, version 1.
import { Client } from '@modelcontextprotocol/sdk/client/index.js'
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js'
import { ElicitRequestSchema } from '@modelcontextprotocol/sdk/types.js'
import { answer, operate } from './operations.mjs'

await operate(async (url, headers) => {
  const client = new Client({ name: 'outside', version: '1' }, { capabilities: { elicitation: {} } })
  client.setRequestHandler(ElicitRequestSchema, answer)
  const transport = new StreamableHTTPClientTransport(new URL(url), { requestInit: { headers } })
  await client.connect(transport)
  return { client, protocol: transport.protocolVersion, call: (params, options) => client.callTool(params, undefined, options) }
})
