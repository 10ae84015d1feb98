// What a client of the TypeScript SDKs does for an errand: one operation after the other, one JSON line for each.
async function input() {
  let all = ''
  for await (const chunk of process.stdin) all += chunk
  return JSON.parse(all)
}

const text = (content) => [content].flat().map((c) => c.text ?? '').join('\n')

// pages reads a list to its end.
async function pages(list, member, key) {
  const names = []
  for (let cursor, more = true; more; more = cursor !== undefined) {
    const page = await list(cursor === undefined ? undefined : { cursor })
    names.push(...page[member].map((item) => item[key]))
    cursor = page.nextCursor
  }
  return { names }
}

const does = {
  tools: ({ client }) => pages((p) => client.listTools(p), 'tools', 'name'),
  resources: ({ client }) => pages((p) => client.listResources(p), 'resources', 'uri'),
  prompts: ({ client }) => pages((p) => client.listPrompts(p), 'prompts', 'name'),
  call: async ({ call }, o) => ({ text: text((await call({ name: o.name, arguments: o.args })).content) }),
  read: async ({ client }, o) => ({ text: text((await client.readResource({ uri: o.uri })).contents) }),
  prompt: async ({ client }, o) => ({ text: text((await client.getPrompt({ name: o.name, arguments: o.args })).messages.map((m) => m.content)) }),
  progress: async ({ call }, o) => {
    const progress = []
    const result = await call({ name: o.name, arguments: o.args }, { onprogress: (p) => progress.push(p.progress) })
    return { text: text(result.content), progress }
  },
  // cancel gives up calls as soon as the tool says that it has begun, and says when.
  cancel: async ({ call }, o) => {
    const at = []
    for (let i = 0; i < o.times; i++) {
      const stop = new AbortController()
      const onprogress = () => { at.push(Date.now()); stop.abort('enough') }
      await call({ name: o.name, arguments: o.args }, { onprogress, signal: stop.signal }).then(
        () => { throw new Error('a call that was given up was answered') },
        (e) => { if (!stop.signal.aborted) throw e },
      )
      await new Promise((done) => setTimeout(done, 300))
    }
    return { at }
  },
}
does.elicit = does.refuse = does.call

// answer fills in the first field that a server asks for.
export const answer = ({ params }) => ({ action: 'accept', content: { [Object.keys(params.requestedSchema.properties)[0]]: 'Ada' } })

export async function operate(connect) {
  const say = (line) => process.stdout.write(JSON.stringify(line) + '\n')
  for (const [job, errand] of (await input()).entries()) {
    const headers = { Authorization: `Bearer ${errand.key}`, 'Gatewright-Intent': errand.token }
    let open
    try {
      open = await connect(errand.url, headers, errand.era)
      say({ job, op: 'connect', protocol: open.protocol })
    } catch (e) {
      say({ job, op: 'connect', error: String(e?.stack ?? e) })
      continue
    }
    for (const o of errand.operations) {
      try {
        say({ job, op: o.op, ...(await does[o.op](open, o)) })
      } catch (e) {
        say({ job, op: o.op, error: String(e?.message ?? e) })
      }
    }
    await open.client.close()
  }
  process.stdout.write('', () => process.exit(0))
}
