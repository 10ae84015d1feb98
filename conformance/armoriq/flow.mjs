// ArmorIQ's own npm client, unmodified, as an agent uses it: demo.env is its whole configuration. It prints a JSON line for
// each step: {step, ok, detail, wire}; wire is what the client exchanged during the step, read by an interceptor of its
// HTTP client. The end is {"step":"done"}; the first step that fails ends it.
import { createRequire } from 'node:module'
import { generateKeyPairSync } from 'node:crypto'

const said = []
for (const how of ['log', 'warn', 'error']) console[how] = (...parts) => said.push(parts.join(' '))

const { ArmorIQClient } = createRequire(import.meta.url)('@armoriq/sdk')

let wire = []
const say = (line) => process.stdout.write(JSON.stringify(line) + '\n')

function seen(response) {
  wire.push({
    method: response.config.method.toUpperCase(),
    path: new URL(response.config.url).pathname,
    status: response.status,
    type: response.headers['content-type'] ?? '',
    record: response.headers['gatewright-record'] ?? '',
    receipt: response.headers['gatewright-receipt'] ?? '',
    answer: typeof response.data === 'object' ? response.data : null,
    stream: typeof response.data === 'string' ? response.data.slice(0, 2000) : undefined,
  })
  return response
}

async function step(name, act) {
  wire = []
  let ok = true
  let detail
  try {
    detail = (await act()) ?? {}
  } catch (e) {
    ok = false
    detail = { raised: e.name, said: String(e.message).slice(0, 800) }
  }
  say({ step: name, ok, detail, wire })
  if (!ok) process.exit(1)
}

function expect(truth, what) {
  if (!truth) throw new Error(what)
}

async function refused(kind, act) {
  let got
  try {
    got = await act()
  } catch (e) {
    expect(e.name === kind, `raised ${e.name}: ${e.message}`)
    return { raised: e.name, said: e.message }
  }
  throw new Error(`not refused: ${JSON.stringify(got)}`)
}

const text = (result) => (result.content ?? []).map((part) => part.text ?? '').join('\n')

const client = new ArmorIQClient()
client.httpClient.interceptors.response.use(seen)

const steps = [
  { action: 'calculate', mcp: 'demo', params: { expression: '6*7' } },
  { action: 'noop', mcp: 'e2e', params: {} },
  { action: 'denied', mcp: 'e2e', params: {} },
]
let token

async function invoke(mcp, action, params, email) {
  const result = await client.invoke(mcp, action, token, params, undefined, email)
  expect(result.status === 'success' && result.verified === true, JSON.stringify(result))
  return { text: text(result.result) }
}

await step('health', async () => {
  for (let i = 0; i < 100 && !said.some((line) => line.includes('validated')); i++) await new Promise((r) => setTimeout(r, 50))
  expect(said.some((line) => line.includes('API key validated successfully')), said.join('\n'))
})

await step('token', async () => {
  const captured = client.capturePlan('flow', 'conformance', { goal: 'conformance', steps })
  token = await client.getIntentToken(captured, undefined, 300)
  expect(token.stepProofs.length === steps.length && token.stepProofs.every(Array.isArray), JSON.stringify(token.stepProofs))
  return { token_id: token.tokenId, plan_id: token.planId, plan_hash: token.planHash, merkle_root: token.rawToken.merkle_root }
})

await step('verify', async () => expect(await client.verifyToken(token), said.join('\n')))
await step('invoke', () => invoke('demo', 'calculate', { expression: '6*7' }))
await step('on behalf', () => invoke('demo', 'calculate', { expression: '6*7' }, 'somebody@else.example'))
await step('second step', () => invoke('e2e', 'noop', {}))
await step('other arguments', () => refused('MCPInvocationException', () => invoke('demo', 'calculate', { expression: '6*8' })))
await step('other server', () => refused('MCPInvocationException', () => invoke('e2e', 'calculate', { expression: '6*7' })))
await step('denied', () => refused('MCPInvocationException', () => invoke('e2e', 'denied', {})))

await step('proof of another step', () => {
  const proofs = token.stepProofs
  const wrong = { ...token, stepProofs: [proofs[1], proofs[0], proofs[2]] }
  return refused('MCPInvocationException', () => client.invoke('demo', 'calculate', wrong, { expression: '6*7' }))
})

await step('delegate', async () => {
  const { x } = generateKeyPairSync('ed25519').publicKey.export({ format: 'jwk' })
  const key = Buffer.from(x, 'base64url').toString('hex')
  const got = await client.delegate(token, key, 120, ['calculate'], 'second')
  const child = got.delegatedToken
  expect(got.delegationId && child.tokenId && child.tokenId !== token.tokenId, JSON.stringify(got))
  expect(child.expiresAt > Date.now() / 1000, `expires at ${child.expiresAt}`)
  await refused('DelegationException', () => client.delegate(token, 'not a key', 120))
  return { token_id: child.tokenId, delegation_id: got.delegationId }
})

say({ step: 'done', ok: true, detail: {}, wire: [] })
process.exit(0)
