// What every client of this folder does for a job: list the tools, make each call, say what came of it.
async function text(stream) {
  let all = ''
  for await (const chunk of stream) all += chunk
  return all
}

async function one(connect, job) {
  const headers = { Authorization: `Bearer ${job.key}`, 'Gatewright-Intent': job.token }
  const { client, protocol, call } = await connect(job.url, headers, job.era)
  const out = { protocol, tools: (await client.listTools()).tools.map((t) => t.name), calls: [] }
  for (const args of job.calls) {
    try {
      out.calls.push({ result: await call(job.tool, args) })
    } catch (e) {
      out.calls.push({ error: { code: e.code, message: String(e.message), data: e.data } })
    }
  }
  await client.close()
  return out
}

export async function run(connect) {
  const results = []
  for (const job of JSON.parse(await text(process.stdin))) {
    try {
      results.push(await one(connect, job))
    } catch (e) {
      results.push({ failed: `${e?.stack ?? e} ${JSON.stringify(e?.data ?? null)}` })
    }
  }
  process.stdout.write(JSON.stringify(results), () => process.exit(0))
}
