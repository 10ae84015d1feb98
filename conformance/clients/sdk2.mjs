// The TypeScript SDK, version 2: the handshake by default, the stateless protocol when told to negotiate.
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client'
import { run } from './job.mjs'

await run(async (url, headers, era) => {
  const options = era === 'modern' ? { versionNegotiation: { mode: 'auto' } } : {}
  const client = new Client({ name: 'outside', version: '1' }, options)
  const transport = new StreamableHTTPClientTransport(new URL(url), { requestInit: { headers } })
  await client.connect(transport)
  return { client, protocol: client.getNegotiatedProtocolVersion?.() ?? transport.protocolVersion, call: (tool, args) => client.callTool({ name: tool, arguments: args }) }
})
