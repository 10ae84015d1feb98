// All operations with the TypeScript SDK, version 2: the handshake by default, the stateless protocol when told to negotiate.
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client'
import { answer, operate } from './operations.mjs'

await operate(async (url, headers, era) => {
  const negotiate = era === 'modern' ? { versionNegotiation: { mode: 'auto' } } : {}
  const client = new Client({ name: 'outside', version: '1' }, { capabilities: { elicitation: {} }, ...negotiate })
  client.setRequestHandler('elicitation/create', answer)
  const transport = new StreamableHTTPClientTransport(new URL(url), { requestInit: { headers } })
  await client.connect(transport)
  const protocol = client.getNegotiatedProtocolVersion?.() ?? transport.protocolVersion
  return { client, protocol, call: (params, options) => client.callTool(params, options) }
})
