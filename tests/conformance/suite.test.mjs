// The conformance tests of the Durable Streams protocol. The package's own command finds no tests, as it names a file that the
// runner leaves out.
import { runConformanceTests } from "@durable-streams/server-conformance-tests"

runConformanceTests({
  baseUrl: process.env.STREAMS_URL,
  longPollTimeoutMs: Number(process.env.STREAMS_LONG_POLL_MS),
  subscriptions: true,
})
