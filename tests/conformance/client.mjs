// What a program does with the protocol's own client, unmodified: in Node, and in a page of another origin. Returns what it read.
import { DurableStream, IdempotentProducer, stream } from "@durable-streams/client"

export async function use(base) {
  const url = `${base}/v1/stream/client/${Math.random().toString(36).slice(2)}`
  const handle = await DurableStream.create({ url, contentType: "application/json" })
  const producer = new IdempotentProducer(handle, "writer", { autoClaim: true })
  for (let i = 0; i < 100; i++) producer.append(JSON.stringify({ i }))
  await producer.flush()
  const caught = await (await stream({ url, live: false })).json()

  const live = {}
  for (const mode of ["long-poll", "sse"]) {
    const items = []
    const done = new Promise((resolve) => stream({ url, live: mode }).then((res) => res.subscribeJson(async (batch) => {
      items.push(...batch.items)
      if (items.some((item) => item.mode === mode)) resolve()
    })))
    await handle.append(JSON.stringify({ mode }))
    await done
    live[mode] = items.length
  }
  await producer.close()
  const { offset } = await handle.head()
  await handle.close()
  let refused = 0
  try {
    await handle.append(JSON.stringify({ late: true }))
  } catch (error) {
    refused = error.status
  }
  return { caught: caught.map((item) => item.i), live, offset: typeof offset, refused }
}

if (typeof process !== "undefined" && process.argv?.[2]) console.log(JSON.stringify(await use(process.argv[2])))
