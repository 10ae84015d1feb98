// The TypeScript SDK, version 1 (always the handshake protocol), as any agent would use it: an address, two headers.
// Reads a job as JSON on standard input, writes what happened as JSON.
import { Client } from '@modelcontextprotocol/sdk/client/index.js'
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js'
import { run } from './job.mjs'

await run(async (url, headers) => {
  const client = new Client({ name: 'outside', version: '1' })
  const transport = new StreamableHTTPClientTransport(new URL(url), { requestInit: { headers } })
  await client.connect(transport)
  return { client, protocol: transport.protocolVersion, call: (tool, args) => client.callTool({ name: tool, arguments: args }) }
})
