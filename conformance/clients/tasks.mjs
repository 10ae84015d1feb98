// Calls a tool of the npm reference server as a task with the stock client, answers what it asks, and says what came of it.
import { Client } from '@modelcontextprotocol/sdk/client/index.js'
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js'
import { CallToolResultSchema, ElicitRequestSchema } from '@modelcontextprotocol/sdk/types.js'

let text = ''
for await (const chunk of process.stdin) text += chunk
const job = JSON.parse(text)
const headers = { Authorization: `Bearer ${job.key}`, 'Gatewright-Intent': job.token }
const client = new Client({ name: 'tasks', version: '1' }, { capabilities: { elicitation: { form: {} }, tasks: {} } })
const out = { statuses: [], asked: 0, related: false, foreign: 0 }
let id
client.setRequestHandler(ElicitRequestSchema, async (request) => {
  out.asked++
  out.related = request.params._meta?.['io.modelcontextprotocol/related-task']?.taskId === id
  return { action: 'accept', content: { interpretation: 'technical' } }
})
await client.connect(new StreamableHTTPClientTransport(new URL(job.url), { requestInit: { headers } }))
const tool = (await client.listTools()).tools.find((t) => t.name.endsWith('simulate-research-query'))
out.support = tool.execution?.taskSupport
const call = { name: tool.name, arguments: { topic: 'ships', ambiguous: true } }
for await (const message of client.experimental.tasks.callToolStream(call, CallToolResultSchema, { task: { ttl: 60000 } })) {
  if (message.task) {
    id = message.task.taskId
    out.statuses.push(message.task.status)
  }
  if (message.type === 'error') throw message.error
  if (message.type === 'result') {
    out.text = message.result.content[0].text
    out.receipt = message.result._meta?.['gatewright/receipt'] ?? ''
  }
}
out.listed = (await client.experimental.tasks.listTasks()).tasks.filter((t) => t.taskId === id).length
try {
  await client.experimental.tasks.getTask(id.slice(0, -4) + 'AAAA')
} catch (e) {
  out.foreign = e.code
}
await client.close()
process.stdout.write(JSON.stringify(out), () => process.exit(0))
