--- /openapi.json: describes the routes of the other files here in OpenAPI 3.1. A test compares the two; bounds come
--- from core.limits and schema.lua.
local core = require "lignum.core"
local describe = require "lignum.describe"
local route = require "lignum.route"
local schema = require "lignum.schema"

local list = core.json.array
local limits = core.limits

local M = {}

-- Shorthands -----------------------------------------------------------------------------------

local function ref(name)
  return { ["$ref"] = "#/components/schemas/" .. name }
end

local function array_of(items)
  return { type = "array", items = items }
end

local function object(properties, required)
  return { type = "object", properties = properties, required = list(required or {}) }
end

local function text(description, max)
  return { type = "string", description = description, maxLength = max }
end

local function integer(minimum, description)
  return { type = "integer", minimum = minimum, description = description }
end

local function words(...)
  return { type = "string", enum = list { ... } }
end

local function content(media_type, of)
  return { [media_type] = { schema = of } }
end

local function answer(description, media_type, of)
  return { description = description, content = media_type and content(media_type, of) }
end

local function json(description, of)
  return answer(description, "application/json", of)
end

local function query(name, of, description)
  return { name = name, ["in"] = "query", schema = of, description = description }
end

local function header(name, description)
  return { name = name, ["in"] = "header", schema = { type = "string" }, description = description }
end

local TOPIC = {
  name = "topic", ["in"] = "path", required = true, example = "orders",
  schema = { type = "string", pattern = ("^[A-Za-z0-9][A-Za-z0-9._-]{0,%d}$"):format(limits.topic_name_max - 1) },
}

-- An operation: its summary, its answers by status (`default` is added: a problem), and other fields.
local function operation(summary, responses, more)
  local op = more or {}
  op.summary = summary
  op.responses = responses
  responses.default = { ["$ref"] = "#/components/responses/Problem" }
  if op.parameters then list(op.parameters) end
  return op
end

local function body(contents, required)
  return { required = required ~= false, content = contents }
end

-- Schemas --------------------------------------------------------------------------------------

local UNITS = { seconds = "seconds; ", bytes = "bytes; " }

-- The JSON schema of a key in schema.lua.
local function of_key(k)
  if k.kind == "group" then
    local properties = {}
    for name, inner in pairs(k.fields) do properties[name] = of_key(inner) end
    return object(properties)
  end
  return {
    type = k.kind == "word" and "string" or k.kind == "seconds" and "number" or "integer",
    enum = k.words and list(k.words), minimum = k.min, maximum = k.max, description = (UNITS[k.kind] or "") .. k.text,
  }
end

local function settings(more)
  local properties = of_key(schema.settings).properties
  for name, of in pairs(more or {}) do properties[name] = of end
  return properties
end

local PAYLOAD_MAX <const> = limits.payload_size_max

local function envelope(data, base64)
  return {
    key = text("if it is UTF-8", limits.key_size_max), key_base64 = text("the key otherwise"),
    headers = { type = "object", additionalProperties = { type = "string" } },
    data = text(data, PAYLOAD_MAX), base64 = text(base64, (PAYLOAD_MAX + 2) // 3 * 4),
  }
end

local message = envelope("the payload, if it is valid UTF-8", "the payload otherwise")
message.offset, message.epoch, message.time = integer(0), integer(0), { type = "string", format = "date-time" }
message.json = { description = "the payload as a value, with the parameter json and if it is JSON" }
message.lease, message.delivery = text("of a claim"), integer(1, "of a claim: how often it was delivered")

local published = envelope("the payload: a string, or another value, whose JSON is the payload",
  "or the payload in base64, with padding")
published.data.type, published.data.maxLength = nil, nil
published.delay = { type = "number", minimum = 0, maximum = limits.group_delay_ms_max // 1000,
  description = "seconds; groups do not deliver it before that" }
published.deliver_at = { type = "string", format = "date-time" }
published.ttl = { type = "number", minimum = 0.001, maximum = limits.group_delay_ms_max // 1000,
  description = "seconds; groups do not deliver it after that" }

local schemas = {
  Problem = object({
    type = text(), title = text(), status = integer(400), code = text("one of the error codes in doc/http.md"),
    detail = text(), retryable = { type = "boolean" },
    appended = { type = "boolean", description = "false: the message will never appear" },
    limit = integer(0, "too_large: the limit"),
    id = text("of a script's failure: the log's line about it has the same"),
    token = text("precondition_failed: the place where the next message goes"),
    earliest = integer(0), next = integer(0),
    expected = integer(0, "sequence_gap: the Producer-Seq that comes next"),
    epoch = integer(0, "fenced: the newer Producer-Epoch; log_truncated: the last epoch in which the histories agree,"),
    offset = integer(0, "and up to which offset"),
  }, { "title", "status", "code", "detail", "retryable" }),

  Health = object({
    status = words("ok", "warning", "critical"), time = { type = "string", format = "date-time" }, node = text(),
    version = text(), role = words("alone", "leader", "follower"), epoch = integer(0),
    leader = { type = list { "string", "null" } }, uptime = { type = "number", description = "seconds" },
    problems = array_of(object({
      code = text("doc/http.md lists them"), severity = words("warning", "critical"),
      subject = text("the follower, topic/group, hook or file"), what = text(), cure = text(),
      since = { type = "string", format = "date-time" },
    }, { "code", "severity", "what", "cure", "since" })),
  }, { "status", "time", "node", "role", "problems" }),

  Hook = object({
    kind = words("hook", "timer"), name = text(), place = text("where lignum.lua defines it"), calls = integer(0),
    errors = integer(0), seconds = { type = "number", description = "of all calls" },
    p99 = { type = "number", description = "seconds" },
    last_error = { type = list { "object", "null" }, properties = { time = text(), text = text() } },
  }, { "kind", "name", "calls", "errors", "seconds", "p99", "last_error" }),

  Token = object({
    name = text(), topics = array_of(text("a pattern")), may = array_of(text("an action")),
    made = { type = "string", format = "date-time" }, expires = { type = "string", format = "date-time" },
    declared = { type = "boolean", description = "in lignum.lua" },
    secret = text("only when it is made; shown once"),
  }, { "name", "topics", "may" }),

  Message = object(message, { "offset", "epoch", "time" }),

  Envelope = {
    type = "object", additionalProperties = false,
    properties = published,
    oneOf = list { object({ data = {} }, { "data" }), object({ base64 = {} }, { "base64" }) },
  },

  Published = object({
    topic = text(), first = integer(0), next = integer(0), count = integer(1), epoch = integer(0),
    next_token = text("epoch:offset:topic, to read on from"),
    durability = words("commit", "interval", "os"), committed = words("written", "disk", "peers"),
    copies = integer(1),
    duplicate = { type = "boolean", description = "true: the log had it already; an old one is without its place" },
    rerouted = array_of(object({ topic = text(), first = integer(0), next = integer(0), count = integer(1) },
      { "topic" })),
  }, { "topic", "durability", "committed", "copies" }),

  Read = object({
    topic = text(), messages = array_of(ref("Message")), next = integer(0), epoch = integer(0),
    next_token = text("epoch:offset:topic, to read on from"),
  }, { "topic", "messages", "next", "epoch", "next_token" }),

  Settings = { type = "object", additionalProperties = false, properties = settings() },

  Topic = object(settings {
    name = text(), id = text("epoch:offset of its creation"), first = integer(0), next = integer(0),
    tail = integer(0), written = integer(0), disk = integer(0), peers = integer(0), ship = integer(0),
    bytes = integer(0), segments = integer(0), damaged = integer(0),
    last_time = { type = "string", format = "date-time" }, followers = array_of({ type = "object" }),
  }, { "name", "id", "first", "next", "bytes" }),

  GroupSettings = { type = "object", additionalProperties = false, properties = {
    lease_time = { type = "number", minimum = limits.group_lease_ms_min / 1000,
      maximum = limits.group_lease_ms_max // 1000, description = "seconds" },
    deliveries = { type = "integer", minimum = 0, maximum = limits.group_deliveries_max, description = "0: no bound" },
    lease_max = { type = "integer", minimum = 1, maximum = limits.group_ahead_max }, order = words("none", "key"),
    retry = object {
      min = { type = "number", minimum = 0 }, max = { type = "number", minimum = 0 },
      factor = { type = "number", minimum = 1, maximum = limits.group_retry_factor_max },
    },
    expire = { type = "number", minimum = 0, description = "seconds without use after which the group goes; 0: never" },
    dead_letter = { type = list { "string", "null" }, description = "the topic of dead messages" },
    expired = words("drop", "dead"),
    filter = { oneOf = list {
      { type = "null" }, object { key = text(), headers = { type = "object" }, name = text() },
    } },
    from = { type = list { "string", "integer" }, description = "of PUT: an offset, token, time, earliest or latest" },
  } },

  Group = object({
    topic = text(), group = text(), settings = ref("GroupSettings"), generation = integer(1),
    cursor = text("epoch:offset:topic; everything below is settled"), lag = integer(0), leased = integer(0),
    scheduled = integer(0), blocked = { oneOf = list { { type = "null" }, object({
      offset = integer(0), reason = { enum = list { "leased", "delayed", "dying", "ready" } }, held = integer(0),
      ["until"] = text(), consumer = text(), key = text(), key_base64 = text(),
    }, { "offset", "reason", "held" }) } },
    oldest = { oneOf = list { object({
      offset = integer(0), age = { type = "number" }, state = words("new", "leased", "delayed", "ready", "held"),
      deliveries = integer(0, "that have ended and counted"), consumer = text("that has it"),
    }), { type = "null" } } },
    redelivered = integer(0), dying = integer(0), dead = integer(0), removed = integer(0),
    outdated = integer(0),
    consumers = array_of(object({ name = text(), leased = integer(0), last = text() }, { "name", "leased" })),
  }, { "topic", "group", "settings", "generation", "cursor", "lag", "leased" }),

  Settle = { type = "object", additionalProperties = false, properties = {
    ack = array_of(text()),
    reject = array_of {
      oneOf = list { text(), object({ lease = text(), why = text(nil, limits.group_reason_max) }, { "lease" }) },
    },
    release = array_of {
      oneOf = list { text(), object({ lease = text(), delay = { type = "number" } }, { "lease" }) },
    },
    extend = array_of(object({ lease = text(), seconds = { type = "number" } }, { "lease", "seconds" })),
  } },

  Settled = array_of(object({ lease = text(), result = words("ok", "lease_lost") }, { "lease", "result" })),

  Claim = { type = "object", additionalProperties = false, properties = {
    consumer = text(nil, limits.group_consumer_name_max),
    limit = { type = "integer", minimum = 1, maximum = limits.claim_count_max, default = 1 },
    bytes = { type = "integer", minimum = 1, maximum = limits.read_size_max, default = limits.read_size_default },
    wait = { type = "number", minimum = 0, maximum = limits.wait_ms_max // 1000 }, settle = ref("Settle"),
  } },

  Cluster = object({
    self = text("the name of this node"), role = words("alone", "leader", "follower"), epoch = integer(0),
    cluster = text("the id of the cluster"),
    leader = { oneOf = list { object({ name = text(), http = text() }, { "name", "http" }), { type = "null" } } },
    synced = array_of { type = "string" },
    nodes = array_of(object({
      name = text(), http = text(), role = words("alone", "leader", "follower"),
      in_set = { type = "boolean", description = "counts in the synced set" }, connected = { type = "boolean" },
      config = text("the fingerprint of its configuration"),
      lag = integer(0, "messages; on the leader"), lag_bytes = integer(0), lag_seconds = { type = "number" },
      staleness = { type = "number", description = "seconds; only of this node, unless it leads and can confirm that" },
    }, { "name", "role" })),
  }, { "self", "role", "epoch", "leader", "synced", "nodes" }),

  ApiTopic = object({ name = text(), message_count = integer(0) }, { "name", "message_count" }),
}

-- Paths ----------------------------------------------------------------------------------------

local paths = {}

paths["/ping"] = { get = operation("Answers PONG", { ["200"] = answer("PONG", "text/plain", text()) }) }

paths["/api/message"] = {
  post = operation("Publish one message of text", {
    ["200"] = json("Appended", object({
      status = { const = "message commited" }, data = text(), offset = integer(0), epoch = integer(0),
      durability = text(), committed = text(),
    }, { "status", "data" })),
  }, {
    requestBody = body(content("application/json",
      object({ topic = text(), message = text() }, { "topic", "message" }))),
  }),
  get = operation("Read the messages of [from, to); the parameters may also be given as a JSON body", {
    ["200"] = json("As far as they exist", object({
      messages = array_of(object({ Id = integer(0), Data = text() }, { "Id", "Data" })), count = integer(0),
    }, { "messages", "count" })),
  }, {
    parameters = {
      query("topic", text()), query("from", integer(0), "default 0"), query("to", integer(1)),
    },
  }),
}

paths["/api/topics"] = {
  get = operation("All topics", { ["200"] = json("By name", array_of(ref("ApiTopic"))) }),
  post = operation("Create a topic", { ["201"] = json("Created", ref("ApiTopic")) }, {
    requestBody = body(content("application/json", object({
      name = text(), replication = words("wal", "live"), copies = integer(1),
    }, { "name" }))),
  }),
}

paths["/v1/topics"] = {
  get = operation("A page of topics, by name", {
    ["200"] = json("`after` is the parameter for the next page, if there is one; `names` or `topics`",
      object({ topics = array_of(ref("Topic")), names = array_of(text()), after = text() })),
  }, {
    parameters = {
      query("pattern", text("* any characters, ? one")), query("prefix", text("instead of a pattern")),
      query("after", text()), query("names", { type = "boolean" }, "only the names"),
      query("limit", { type = "integer", minimum = 1, maximum = limits.topics_page_max,
        default = limits.topics_page_default }),
      query("internal", { type = "boolean" }, "include the broker's own"),
    },
  }),
  delete = operation("Delete a page of the topics whose names begin with a prefix", {
    ["200"] = json("`after` is the parameter for the next page, if there is one",
      object({ deleted = integer(0), after = text() }, { "deleted" })),
  }, {
    parameters = {
      query("prefix", text()), query("after", text()),
      query("limit", { type = "integer", minimum = 1, maximum = limits.topics_page_max,
        default = limits.topics_page_default }),
    },
  }),
}

paths["/v1/topics/{topic}"] = {
  parameters = list { TOPIC },
  get = operation("The settings and positions of a topic", { ["200"] = json("The topic", ref("Topic")) }),
  put = operation("Create it", {
    ["200"] = json("It exists, with the same settings", ref("Topic")),
    ["201"] = json("Created", ref("Topic")),
  }, { requestBody = body(content("application/json", ref("Settings")), false) }),
  patch = operation("Change some settings", { ["200"] = json("Changed", ref("Topic")) },
    { requestBody = body(content("application/json", ref("Settings"))) }),
  delete = operation("Delete it with all its messages", { ["204"] = answer("Deleted") }),
}

paths["/v1/topics/{topic}/messages"] = {
  parameters = list { TOPIC },
  post = operation("Publish: a batch is stored as a whole or not at all", {
    ["200"] = json("Acknowledged", ref("Published")),
  }, {
    parameters = {
      header("Lignum-Key", "the key, if the body is one message"),
      header("Lignum-Delay", "seconds: groups do not deliver it before that"),
      header("Lignum-TTL", "seconds: groups do not deliver it after that"),
      header("Lignum-Deliver-At", "RFC 3339: the same, as a time"),
      header("Lignum-Ack", "peers: answer when every member of the synced set has it"),
      header("Lignum-Forward", "never: a follower does not forward, but answers 307 with the leader's address"),
      header("If-Match", '"epoch:offset:topic", a token in quotes: append only there, at the end of the topic'),
      header("Producer-Id", "who sends, up to 64 bytes"), header("Producer-Epoch"), header("Producer-Seq"),
      header("Idempotency-Key", "up to 128 bytes, instead of the three"),
    },
    requestBody = body {
      ["application/json"] = { schema = { oneOf = list {
        ref("Envelope"), { type = "array", items = ref("Envelope"), minItems = 1, maxItems = limits.batch_count_max },
      } } },
      ["application/x-ndjson"] = { schema = text("each line is the payload of one message") },
      ["*/*"] = { schema = text("the payload of one message", PAYLOAD_MAX) },
    },
  }),
  get = operation("Read, or follow as server-sent events", {
    ["200"] = {
      description = "Messages",
      content = {
        ["application/json"] = { schema = ref("Read") },
        ["application/x-ndjson"] = { schema = text("one message per line; with raw=1 only its payload") },
        ["text/event-stream"] = { schema = text("id: epoch:offset:topic, data: one message") },
        ["application/vnd.lignum.records"] = { schema = text("stored batches, see doc/format.md") },
      },
    },
    ["304"] = answer("The client has this range already, by its ETag"),
  }, {
    parameters = {
      query("from", text(), "offset, epoch:offset:topic, earliest (default), latest, RFC 3339, or -15m"),
      query("to", text(), "the same; exclusive"),
      query("limit", { type = "integer", minimum = 1, maximum = limits.read_count_max,
        default = limits.read_count_default }),
      query("bytes", { type = "integer", minimum = 1, maximum = limits.read_size_max,
        default = limits.read_size_default }),
      query("wait", { type = "number", minimum = 0, maximum = limits.wait_ms_max // 1000 },
        "seconds to wait when there is no message yet"),
      query("min_offset", text(), "wait until the log has reached this offset"),
      query("raw", { type = "boolean" }, "only payloads"),
      query("json", { type = "boolean" }, "payloads that are JSON as the value json, not as the string data"),
      query("key", text(), "only messages with this key"),
      query("header", { type = "object", patternProperties = { ["^header\\."] = text() } },
        "each parameter header.NAME=VALUE: only messages whose header NAME has this value"),
      query("last_event_id", text(), "id of the last event; reading continues after it"),
      header("Last-Event-ID", "id of the last event; the stream continues after it"),
      header("If-None-Match"),
    },
  }),
}

local GROUP <const> = {
  name = "group", ["in"] = "path", required = true, schema = TOPIC.schema, example = "mails",
}

paths["/v1/topics/{topic}/groups"] = {
  parameters = list { TOPIC },
  get = operation("The groups of a topic, by name", {
    ["200"] = json("Groups", object({ groups = array_of(ref("Group")) }, { "groups" })),
  }),
}

paths["/v1/topics/{topic}/groups/{group}"] = {
  parameters = list { TOPIC, GROUP },
  get = operation("The settings and the state of a group", { ["200"] = json("The group", ref("Group")) }),
  put = operation("Create it", {
    ["200"] = json("It exists, with the same settings", ref("Group")), ["201"] = json("Created", ref("Group")),
  }, { requestBody = body(content("application/json", ref("GroupSettings")), false) }),
  patch = operation("Change some settings", { ["200"] = json("Changed", ref("Group")) },
    { requestBody = body(content("application/json", ref("GroupSettings"))) }),
  delete = operation("Delete it", { ["204"] = answer("Deleted") }),
}

paths["/v1/topics/{topic}/groups/{group}/claim"] = {
  parameters = list { TOPIC, GROUP },
  post = operation("Lease messages, after settling others", {
    ["200"] = json("None when the wait ends first", object({
      topic = text(), group = text(), messages = array_of(ref("Message")), settled = ref("Settled"),
    }, { "topic", "group", "messages" })),
  }, { requestBody = body(content("application/json", ref("Claim")), false) }),
}

paths["/v1/topics/{topic}/groups/{group}/settle"] = {
  parameters = list { TOPIC, GROUP },
  post = operation("Acknowledge, release, reject and extend leases", {
    ["200"] = json("In the order ack, release, reject, extend", object({ results = ref("Settled") }, { "results" })),
  }, { requestBody = body(content("application/json", ref("Settle"))) }),
}

paths["/v1/topics/{topic}/groups/{group}/events"] = {
  parameters = list { TOPIC, GROUP },
  get = operation("Lease messages, and follow them as server-sent events", {
    ["200"] = answer("data: one message, with its lease", "text/event-stream", text()),
    ["307"] = answer("The leader's address, from another node"),
  }, {
    parameters = {
      query("consumer", text(nil, limits.group_consumer_name_max)),
      query("lease_max", { type = "integer", minimum = 1, maximum = limits.group_ahead_max, default = 100 },
        "messages that this stream has leased at once"),
    },
  }),
}

paths["/v1/topics/{topic}/groups/{group}/seek"] = {
  parameters = list { TOPIC, GROUP },
  post = operation("Move the cursor, which ends all leases", { ["200"] = json("The group", ref("Group")) }, {
    requestBody = body(content("application/json", object({
      to = { type = list { "string", "integer" }, description = "an offset, token, time, earliest or latest" },
    }, { "to" }))),
  }),
}

paths["/v1/topics/{topic}/groups/{group}/redrive"] = {
  parameters = list { TOPIC, GROUP },
  post = operation("Publish dead letters of the group again", {
    ["200"] = json("How many", object({ published = integer(0) }, { "published" })),
  }, {
    requestBody = body(content("application/json", object {
      limit = { type = "integer", minimum = 1, maximum = limits.claim_count_max, default = 1000 },
      to = text("the topic; the group's own, if it is left out"),
    }), false),
  }),
}

paths["/v1/topics/{topic}/groups/{group}/cursor"] = {
  parameters = list { TOPIC, GROUP },
  put = operation("Move the cursor of a consumer that tracks itself", { ["200"] = json("The group", ref("Group")) }, {
    parameters = { header("If-Match", "the generation of the group") },
    requestBody = body(content("application/json", object({ next = text("a token") }, { "next" }))),
  }),
}

paths["/v1/tokens"] = {
  get = operation("List access tokens", { ["200"] = json("All, by name", object({
    tokens = array_of(ref("Token")),
  }, { "tokens" })) }),
  post = operation("Make an access token", { ["201"] = json("It, with its secret", ref("Token")) }, {
    requestBody = body(content("application/json", object({
      name = text(nil, limits.topic_name_max), topics = array_of(text("a pattern, such as orders.*")),
      may = array_of(words("read", "publish", "consume", "admin", "observe", "own")),
      expires = text("a span such as 30d, or a time"),
    }, { "name", "topics", "may" }))),
  }),
}

paths["/v1/tokens/{token}"] = {
  parameters = list { { name = "token", ["in"] = "path", required = true, schema = { type = "string" } } },
  delete = operation("Revoke an access token", { ["204"] = answer("It is revoked") }),
}

paths["/v1/cluster"] = { get = operation("Leader and nodes", { ["200"] = json("The cluster", ref("Cluster")) }) }
paths["/v1/cluster/adopt"] = {
  post = operation("Make Consul's register this node's own", { ["200"] = json("It leads", { type = "object" }) }),
}
paths["/v1/reload"] = {
  post = operation("Load this node's lignum.lua and scripts again", { ["200"] = json("Done", { type = "object" }) }, {
    parameters = list { { name = "canary", ["in"] = "query", schema = text(),
      description = "a share such as 5%: as a canary; abort: ends that" } },
  }),
}
paths["/v1/node"] = {
  get = operation("What this node is, and what its canary has judged", { ["200"] = json("The node", object({
    name = text(), version = text(), role = words("alone", "follower", "leader"), epoch = integer(0), cluster = text(),
    incarnation = text(), pid = integer(1), uptime = { type = "number" }, advertise = text(),
    full = { type = "boolean" }, ready = { type = "boolean" }, why = text(), canary = { type = "object" },
  })) }),
}
paths["/v1/canary"] = {
  get = operation("What the canary has judged otherwise", { ["200"] = json("Its report", { type = "object" }) }),
}
paths["/v1/marks"] = {
  get = operation("Up to where topics can be read on this node, at one moment", { ["200"] = json("The marks", object({
    node = text(), incarnation = text(), cluster = text(), version = text(),
    time = { type = "string", format = "date-time" },
    topics = array_of(object({ name = text(), first = integer(0), next = integer(0), peers = integer(0) })),
  })) }),
}
paths["/v1/topics/{topic}/trim"] = {
  parameters = list { TOPIC },
  post = operation("Remove this node's files of messages below a place", {
    ["200"] = json("What is left", object({ topic = text(), first = integer(0), next = integer(0) })),
  }, { requestBody = body(content("application/json", object({
    before = { type = list { "string", "integer" }, description = "offset, token, time, earliest or latest" },
  }, { "before" }))) }),
}
paths["/healthz"] = { get = operation("The process runs", { ["200"] = answer("Yes", "text/plain", text()) }) }
paths["/readyz"] = { get = operation("The node can serve", { ["200"] = answer("Yes", "text/plain", text()) }) }
paths["/v1/health"] = {
  get = operation("What is wrong, since when, and what to do", { ["200"] = json("The node's health", ref("Health")) }),
}
paths["/v1/hooks"] = {
  get = operation("Calls of hooks and timers, and the last rejected messages", {
    ["200"] = json("Since the node has started; rejected since the last reload", object({
      hooks = array_of(ref("Hook")), rejected = array_of(object({
        time = { type = "string", format = "date-time" }, topic = text(), code = text(), why = text(),
      }, { "time", "topic", "code", "why" })),
    }, { "hooks", "rejected" })),
  }),
}
paths["/v1/stats"] = {
  get = operation("Counters of the node and state of its cluster, once or as events", {
    ["200"] = { description = "Counters since the start; data: the same, in an event", content = {
      ["application/json"] = { schema = { type = "object" } }, ["text/event-stream"] = { schema = text() },
    } },
  }, { parameters = { query("every", { type = "integer", minimum = 1, maximum = 60, default = 2 },
    "seconds between two events") } }),
}
paths["/v1/me"] = {
  get = operation("Who the caller is, and what it may do", { ["200"] = json("Its token and actions", object({
    token = { type = list { "string", "null" } }, user = { type = list { "string", "null" } },
    topics = array_of(text("a pattern")), may = array_of(text("an action")), console = { type = "boolean" },
    expires = { type = "string", format = "date-time" },
  }, { "token", "user", "topics", "may", "console" })) }),
}
paths["/v1/groups"] = {
  get = operation("Groups of all topics", { ["200"] = json("One page, by topic and name", object({
    groups = array_of(ref("Group")), after = text("for the next page"),
  }, { "groups" })) }, { parameters = {
    query("after", text()), query("limit", { type = "integer", minimum = 1, maximum = 1000, default = 100 }),
  } }),
}

local LUA = body(content("application/json", object({
  line = text("Lua"), session = text("whose variables it sees; one of this token's"),
}, { "line" })))
paths["/v1/console"] = {
  post = operation("Run Lua on this node", { ["200"] = json("What came of it", object({
    outcome = words("ok", "error", "more"), result = text("the values, or the error"), output = text("what it printed"),
  }, { "outcome", "result", "output" })) }, { requestBody = LUA }),
}
paths["/v1/console/complete"] = {
  post = operation("Complete the last word of a line of Lua", { ["200"] = json("Words that it may become", object({
    words = array_of(text()),
  }, { "words" })) }, { requestBody = LUA }),
}
paths["/console"] = { get = operation("The web console", { ["200"] = answer("A page", "text/html", text()) }) }
paths["/console/{file}"] = {
  parameters = list { { name = "file", ["in"] = "path", required = true, schema = { type = "string" } } },
  get = operation("A file of the web console", { ["200"] = answer("Its text", "text/javascript", text()) }),
}
paths["/v1"] = {
  get = operation("List the paths", { ["200"] = json("All paths of this node, lignum.lua's included", object({
    paths = array_of(object({
      path = text(), methods = array_of(text()), summary = text("missing for a path of lignum.lua"),
    }, { "path", "methods" })),
  }, { "paths" })) }),
}
paths["/"] = {
  get = operation("Where to begin; browsers are sent to the console", {
    ["200"] = json("The paths to begin with", { type = "object", additionalProperties = { type = "string" } }),
    ["303"] = answer("The console, for a client that prefers HTML"),
  }),
}
paths["/metrics"] = { get = operation("Prometheus text", { ["200"] = answer("Metrics", "text/plain", text()) }) }
paths["/openapi.json"] = {
  get = operation("This document", { ["200"] = json("OpenAPI 3.1", { type = "object" }) }),
}

-- Fills in what each operation has: an id made of its method and path, as "getV1TopicsTopicMessages", and that a client
-- may be refused.
local function complete(item, path)
  for method, op in pairs(item) do
    if type(op) == "table" and op.responses then
      local id = path:gsub("[^%w]+(%w?)", string.upper):gsub("[^%w]", "")
      op.operationId = method .. (id == "" and "Index" or id)
      op.responses["4XX"] = op.responses["4XX"] or { ["$ref"] = "#/components/responses/Problem" }
    end
  end
end

for path, item in pairs(paths) do complete(item, path) end

M.document = {
  openapi = "3.1.0",
  servers = list { { url = "/", description = "the node that serves this document" } },
  security = list { {}, { token = list {} }, { basic = list {} } },
  info = {
    title = "Lignum", version = core.version, license = { name = "MIT", identifier = "MIT" },
    contact = { name = "Lignum" },
    description = "A durable message log. doc/http.md describes what each call guarantees.",
  },
  tags = describe.tags(),
  paths = paths,
  components = {
    schemas = schemas,
    securitySchemes = {
      token = { type = "http", scheme = "bearer", description = "an access token's secret, or what authorize takes" },
      basic = { type = "http", scheme = "basic", description = "the access token's name and secret" },
    },
    responses = { Problem = answer("A problem (RFC 9457)", "application/problem+json", ref("Problem")) },
  },
}

local described = false

---`GET /openapi.json`
function M.get()
  if not described then         -- not before all routes are there
    describe.operations(paths, route.list())
    described = true
  end
  return 200, M.document
end

---`GET /v1`: lists the paths.
function M.paths()
  local found, paths_listed = {}, list {}
  for _, r in ipairs(route.list()) do
    local entry = found[r.path]
    if not entry then
      entry = { path = r.path, methods = list {} }
      found[r.path], paths_listed[#paths_listed + 1] = entry, entry
    end
    entry.methods[#entry.methods + 1] = r.method
    local op = paths[r.path] and paths[r.path][r.method:lower()]
    entry.summary = entry.summary or op and op.summary
  end
  table.sort(paths_listed, function(a, b) return a.path < b.path end)
  return 200, { paths = paths_listed }
end

route.get("/v1", M.paths, { action = "observe" })
route.get("/openapi.json", M.get, { action = "observe" })

return M
