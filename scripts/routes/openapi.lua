--- /openapi.json: OpenAPI 3.1 of what the other files here declare (a test compares the two).
local core = require "lignum.core"
local route = require "lignum.route"

local list = core.json.array
local limits = core.limits

local M = {}

-- Shorthands -----------------------------------------------------------------------------------

local function ref(name)
  return { ["$ref"] = "#/components/schemas/" .. name }
end

local function array_of(schema)
  return { type = "array", items = schema }
end

local function object(properties, required)
  return { type = "object", properties = properties, required = list(required or {}) }
end

local function text(description)
  return { type = "string", description = description }
end

local function integer(minimum, description)
  return { type = "integer", minimum = minimum, description = description }
end

local function words(...)
  return { type = "string", enum = list { ... } }
end

local function content(media_type, schema)
  return { [media_type] = { schema = schema } }
end

local function answer(description, media_type, schema)
  return { description = description, content = media_type and content(media_type, schema) }
end

local function json(description, schema)
  return answer(description, "application/json", schema)
end

local function query(name, schema, description)
  return { name = name, ["in"] = "query", schema = schema, description = description }
end

local function header(name, description)
  return { name = name, ["in"] = "header", schema = { type = "string" }, description = description }
end

local TOPIC = {
  name = "topic", ["in"] = "path", required = true,
  schema = { type = "string", pattern = "^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$" },
}

-- An operation: what it does, its answers by status (each also has `default`, a problem), and the
-- rest.
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

local retain = object {
  age = { type = "number", minimum = 0, description = "seconds; 0 = no bound" },
  bytes = integer(0, "0 = no bound"),
  messages = integer(0, "0 = no bound"),
}

local segment = object {
  age = { type = "number", minimum = 0, description = "seconds; 0 = never" },
  bytes = integer(4096),
  messages = integer(1),
}

local function settings(more)
  local properties = {
    replication = words("wal", "live"),
    copies = { type = "integer", minimum = 1, maximum = 15 },
    durability = words("commit", "interval", "os"),
    retain = retain,
    segment = segment,
  }
  for name, schema in pairs(more or {}) do properties[name] = schema end
  return properties
end

local schemas = {
  Problem = object({
    type = text(), title = text(), status = integer(400), code = text("a word of the table of errors in doc/http.md"),
    detail = text(), retryable = { type = "boolean" },
    appended = { type = "boolean", description = "false: the message will never appear" },
    earliest = integer(0), next = integer(0),
    epoch = integer(0, "log_truncated: where the histories part,"), offset = integer(0, "and from which offset on"),
  }, { "title", "status", "code", "detail", "retryable" }),

  Message = object({
    offset = integer(0), epoch = integer(0), time = { type = "string", format = "date-time" },
    key = text(), headers = { type = "object", additionalProperties = { type = "string" } },
    data = text("the payload, when it is valid UTF-8"), base64 = text("the payload otherwise"),
  }, { "offset", "epoch", "time" }),

  Envelope = {
    type = "object", additionalProperties = false,
    properties = {
      key = text(), headers = { type = "object", additionalProperties = { type = "string" } },
      data = text(), base64 = text(),
    },
    oneOf = list { { required = list { "data" } }, { required = list { "base64" } } },
  },

  Published = object({
    topic = text(), first = integer(0), next = integer(0), count = integer(1), epoch = integer(0),
    durability = words("commit", "interval", "os"), committed = words("written", "disk", "peers"),
    copies = integer(1),
  }, { "topic", "first", "next", "count", "epoch", "durability", "committed", "copies" }),

  Read = object({
    topic = text(), messages = array_of(ref("Message")), next = integer(0), epoch = integer(0),
  }, { "topic", "messages", "next", "epoch" }),

  Settings = { type = "object", additionalProperties = false, properties = settings() },

  Topic = object(settings {
    name = text(), id = text("epoch:offset of its creation"), first = integer(0), next = integer(0),
    tail = integer(0), written = integer(0), disk = integer(0), peers = integer(0), ship = integer(0),
    bytes = integer(0), segments = integer(0), damaged = integer(0),
    last_time = { type = "string", format = "date-time" }, followers = array_of({ type = "object" }),
  }, { "name", "id", "first", "next", "bytes" }),

  Cluster = object({
    self = text("this node's name"), role = words("alone", "leader", "follower"), epoch = integer(0),
    cluster = text("its id"),
    leader = { oneOf = list { object({ name = text(), http = text() }, { "name", "http" }), { type = "null" } } },
    synced = array_of { type = "string" },
    nodes = array_of(object({
      name = text(), http = text(), role = words("alone", "leader", "follower"),
      in_set = { type = "boolean", description = "counts in the synced set" }, connected = { type = "boolean" },
      lag = integer(0, "messages; on the leader"), lag_bytes = integer(0), lag_seconds = { type = "number" },
      staleness = { type = "number", description = "seconds; of this node, when it follows" },
    }, { "name", "role" })),
  }, { "self", "role", "epoch", "leader", "synced", "nodes" }),

  ApiTopic = object({ name = text(), message_count = integer(0) }, { "name", "message_count" }),
}

-- Paths ----------------------------------------------------------------------------------------

local paths = {}

paths["/ping"] = { get = operation("Answers PONG", { ["200"] = answer("PONG", "text/plain", text()) }) }

paths["/api/message"] = {
  post = operation("Publish one message, which is text", {
    ["200"] = json("Appended", object({
      status = { const = "message commited" }, data = text(), offset = integer(0), epoch = integer(0),
      durability = text(), committed = text(),
    }, { "status", "data" })),
  }, {
    requestBody = body(content("application/json",
      object({ topic = text(), message = text() }, { "topic", "message" }))),
  }),
  get = operation("Read the messages of [from, to); the same three may stand in a JSON body", {
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
    ["200"] = json("after: ask again with it for the next page",
      object({ topics = array_of(ref("Topic")), after = text() }, { "topics" })),
  }, {
    parameters = {
      query("pattern", text("* any characters, ? one")), query("after", text()),
      query("limit", { type = "integer", minimum = 1, maximum = 10000, default = 1000 }),
      query("internal", { type = "boolean" }, "the broker's own too"),
    },
  }),
}

paths["/v1/topics/{topic}"] = {
  parameters = list { TOPIC },
  get = operation("Settings and positions", { ["200"] = json("The topic", ref("Topic")) }),
  put = operation("Create it", {
    ["200"] = json("It was there, with the same settings", ref("Topic")),
    ["201"] = json("Created", ref("Topic")),
  }, { requestBody = body(content("application/json", ref("Settings")), false) }),
  patch = operation("Change some settings", { ["200"] = json("Changed", ref("Topic")) },
    { requestBody = body(content("application/json", ref("Settings"))) }),
  delete = operation("Delete it with all its messages", { ["204"] = answer("Deleted") }),
}

paths["/v1/topics/{topic}/messages"] = {
  parameters = list { TOPIC },
  post = operation("Publish: a batch is appended as a whole or not at all", {
    ["200"] = json("Acknowledged", ref("Published")),
  }, {
    parameters = {
      header("Lignum-Key", "the key, where the body is one message"),
      header("Lignum-Ack", "peers: more than the topic's mode gives"),
      header("Lignum-Forward", "never: a follower answers 307 with the leader's address instead of forwarding"),
      header("Producer-Id"), header("Producer-Epoch"), header("Producer-Seq"),
    },
    requestBody = body {
      ["application/json"] = { schema = { oneOf = list { ref("Envelope"), array_of(ref("Envelope")) } } },
      ["application/x-ndjson"] = { schema = text("each line is one message, as it stands") },
      ["*/*"] = { schema = text("one message, byte for byte") },
    },
  }),
  get = operation("Read, or follow as server-sent events", {
    ["200"] = {
      description = "Messages",
      content = {
        ["application/json"] = { schema = ref("Read") },
        ["application/x-ndjson"] = { schema = text("one message a line; with raw=1 its payload alone") },
        ["text/event-stream"] = { schema = text("id: epoch:offset, data: one message") },
        ["application/vnd.lignum.records"] = { schema = text("stored batches, doc/format.md") },
      },
    },
    ["304"] = answer("The range is as the ETag says"),
  }, {
    parameters = {
      query("from", text(), "offset, epoch:offset, earliest (default), latest, RFC 3339, or -15m"),
      query("to", text(), "the same; exclusive"),
      query("limit", { type = "integer", minimum = 1, maximum = limits.read_count_max,
        default = limits.read_count_default }),
      query("bytes", { type = "integer", minimum = 1, maximum = limits.read_size_max,
        default = limits.read_size_default }),
      query("wait", { type = "number", minimum = 0, maximum = limits.wait_ms_max // 1000 },
        "seconds to wait when there is nothing yet"),
      query("min_offset", text(), "wait until the log has reached this offset"),
      query("raw", { type = "boolean" }, "payloads alone"),
      query("last_event_id", text(), "as Last-Event-ID, which goes first"),
      header("Last-Event-ID", "epoch:offset of the last event; goes on after it"),
      header("If-None-Match"),
    },
  }),
}

paths["/v1/cluster"] = { get = operation("Who leads", { ["200"] = json("The cluster", ref("Cluster")) }) }
paths["/healthz"] = { get = operation("Alive?", { ["200"] = answer("Yes", "text/plain", text()) }) }
paths["/readyz"] = { get = operation("Ready to serve?", { ["200"] = answer("Yes", "text/plain", text()) }) }
paths["/metrics"] = { get = operation("Prometheus text", { ["200"] = answer("Metrics", "text/plain", text()) }) }
paths["/openapi.json"] = {
  get = operation("This document", { ["200"] = json("OpenAPI 3.1", { type = "object" }) }),
}

M.document = {
  openapi = "3.1.0",
  info = {
    title = "Lignum", version = core.version, license = { name = "MIT", identifier = "MIT" },
    description = "A durable message log. doc/http.md says what each call promises.",
  },
  paths = paths,
  components = {
    schemas = schemas,
    responses = { Problem = answer("A problem (RFC 9457)", "application/problem+json", ref("Problem")) },
  },
}

---`GET /openapi.json`
function M.get()
  return 200, M.document
end

route.get("/openapi.json", M.get)

return M
