---@meta lignum
--- Every function that the core gives to Lua: the one description from which help(), the console's
--- completion, doc/api.md and editors take theirs. A test fails where it and the running tables differ.
---
--- Beyond LuaLS's own tags: `@waits` until when a call waits (none: it does not), `@where` it may be
--- called ("anywhere", or "tasks": handlers, hooks, timers and the console, but not while lignum.lua is
--- being loaded), `@errors` the codes it may return as `nil, message, code`, `@example` one line or more.

---@class lignum.Topic
--- A topic by name. It need not exist: the calls say so then.
---@field name string
local Topic = {}

---@class lignum.Message
---@field payload string
---@field key? string
---@field headers? table<string, string>   in on_publish there always is one, which is made when it is first asked for
---@field offset? integer   only in what is read
---@field epoch? integer    only in what is read
---@field time? number      seconds since 1970, only in what is read

---The topic of that name.
---@where tasks
---@param name string
---@return lignum.Topic
---@example local t = topic("orders")
function topic(name) end

---All topics whose names match a pattern (`*` any characters, `?` one), sorted by name.
---@where tasks
---@param pattern? string  default "*"; names that begin with `_` only when it begins with `_`
---@return lignum.Topic[]
---@example for _, t in ipairs(topics("orders.*")) do print(t.name, t:info().next) end
function topics(pattern) end

---Appends one message, or a list of messages as one batch that is stored as a whole or not at all. A request
---appends what it carries: its body as one message with `Lignum-Key` and `Lignum-Header-*`, or with content type
---application/x-ndjson one message a line; `Producer-Id`, `Producer-Epoch`, `Producer-Seq` and `Lignum-Ack` are read.
---Those four are read from `options.request` where a handler appends something else in its name. Any code but
---unknown_outcome means that the batch will never appear.
---A topic that is not there is created as lignum.lua says.
---@waits until the topic's acknowledging mark has the batch
---@where tasks
---@param what string|lignum.Message|(string|lignum.Message)[]|lignum.Request
---@param options? { ack?: "peers", timeout?: number, request?: lignum.Request }
---@return integer? first   the first offset
---@return integer|string count   how many messages; or what is wrong
---@return integer|string epoch   or the code
---@errors unknown_topic no_space too_large bad_value stopping not_enough_copies unknown_outcome
---@example local first, count = topic("orders"):append { "one", { key = "k", payload = "two" } }
function Topic:append(what, options) end

---@class lignum.ReadRange
---@field from? integer
---@field to? integer
---@field limit? integer
---@field bytes? integer
---@field epoch? integer
---@field format? "records"

---Reads messages [from, to), as far as they are readable and fit into `limit` messages and `bytes` bytes.
---`epoch` is that of the message before `from`, where the reader has it: a read that gives nothing says it again to the
---client. With format "records" the result can only be answered with: stored batches, straight from the file.
---@where tasks
---@param range lignum.ReadRange
---@return lignum.Batch|lignum.Range|nil batch
---@return string? message
---@return string? code
---@errors unknown_topic offset_gone damaged bad_range
---@example for i, m in ipairs(topic("orders"):read { from = 0, limit = 10 }) do print(m.offset, m.payload) end
function Topic:read(range) end

---A request that waits holds one of the places for such until it has been answered; they are three quarters of
---limits.tasks and limits.connections.
---@waits until the topic has a readable message at `offset`, or the timeout; or the client of the request has gone
---@where tasks
---@param offset integer
---@param timeout? number  seconds; default and most 60
---@return boolean? there
---@return string? message
---@return string? code
---@errors unknown_topic timeout stopping cancelled too_many_requests
---@example if topic("orders"):wait(100, 5) then print "there" end
function Topic:wait(offset, timeout) end

---The offset of the first batch appended at or after a time; the next offset when there is none.
---@where tasks
---@param time number  seconds since 1970
---@return integer? offset
---@return string? message
---@return string? code
---@errors unknown_topic damaged
---@example topic("orders"):read { from = topic("orders"):offset_at(now() - 60) }
function Topic:offset_at(time) end

---Lets followers be sent offsets below `offset`. On a node of its own it changes only what info() shows.
---@where tasks
---@param offset integer
---@return boolean? ok
---@return string? message
---@return string? code
---@errors unknown_topic bad_range
---@example topic("orders"):ship(topic("orders"):info().disk)
function Topic:ship(offset) end

---Does a token belong to this history: was the message before `offset` written in that epoch? If not, the fourth result
---says up to where the histories agree. A node that may yet get there says true; unavailable: it cannot tell. Of epoch
---0, that of a message which could not be read, anything is true.
---@where anywhere
---@param epoch integer
---@param offset integer
---@return boolean? ok
---@return string? message
---@return string? code
---@return { epoch: integer, offset: integer }? agree
---@errors unknown_topic log_truncated unavailable
---@example topic("orders"):check(3, 1000)
function Topic:check(epoch, offset) end

---@class lignum.Settings
---@field replication? "wal"|"live"
---@field copies? integer
---@field durability? "commit"|"interval"|"os"
---@field retain? { age?: number, bytes?: integer, messages?: integer }   age in seconds; 0 = no bound
---@field segment? { messages?: integer, bytes?: integer, age?: number }

---@class lignum.TopicInfo : lignum.Settings
---@field name string
---@field id string           "epoch:offset" of its creation
---@field first integer       earliest offset
---@field next integer        offset after the last readable message
---@field tail integer
---@field written integer
---@field disk integer
---@field peers integer
---@field ship integer
---@field bytes integer
---@field segments integer
---@field damaged integer     ranges known to be damaged
---@field last_time? number   seconds, of the last batch

---@where tasks
---@return lignum.TopicInfo? info
---@return string? message
---@return string? code
---@errors unknown_topic
---@example print(topic("orders"):info().next)
function Topic:info() end

---In what way the topic acknowledges, as every answer to a publish states it; or has acknowledged what was appended,
---where that came to less, because the mode has changed meanwhile.
---@where tasks
---@param next? integer   the offset after what was appended
---@param ack? "peers"    what append was asked for
---@return string? durability  "commit", "interval" or "os"
---@return string committed    "written", "disk" or "peers"
---@return integer copies      nodes that have it when it is acknowledged
---@errors unknown_topic
---@example print(topic("orders"):acknowledges())
function Topic:acknowledges(next, ack) end

---What a publish is answered with, as JSON: {"topic", "first", "next", "count", "epoch", "durability", "committed",
---"copies"}.
---@where tasks
---@param first integer   as append returned them
---@param count integer
---@param epoch integer
---@param ack? "peers"    what append was asked for
---@return string? json
---@return string? message
---@return string? code
---@errors unknown_topic
---@example local t = topic("orders"); print(t:receipt(t:append("one")))
function Topic:receipt(first, count, epoch, ack) end

---Creates the topic; settings that are not given are the defaults.
---@waits until the creation is committed
---@where tasks
---@param settings? lignum.Settings
---@return boolean? created    false when it exists with the same settings
---@return string? message
---@return string? code
---@errors bad_topic bad_value topic_exists no_space stopping too_many_requests
---@example topic("orders"):create { retain = { age = 7 * day } }
function Topic:create(settings) end

---Changes some settings and leaves the others.
---@waits until the change is committed
---@where tasks
---@param settings lignum.Settings
---@return boolean? ok
---@return string? message
---@return string? code
---@errors unknown_topic bad_value no_space stopping
---@example topic("orders"):set { durability = "interval" }
function Topic:set(settings) end

---Deletes the topic and all its messages.
---@waits until the deletion is committed
---@where tasks
---@return boolean? ok
---@return string? message
---@return string? code
---@errors unknown_topic forbidden no_space stopping
---@example topic("scratch"):delete()
function Topic:delete() end

---@class lignum.Batch
--- What read returned: `#batch` messages, `batch[i]` one of them as a table. A handler returns it as a body,
--- rendered by the core.
---@field next integer   the offset to read on from
---@field epoch integer  of its last message; when empty, of the message before `next`, or 0 where that is not known
local Batch = {}

---Chooses how it is rendered as a body: "json" (the answer of /v1), "api" (the answer of /api/message), "ndjson", "raw"
---(payloads alone, a line each), "events" (of text/event-stream, each with the line that ndjson has) or "raw_events"
---(with the payload).
---@where tasks
---@param format "json"|"api"|"ndjson"|"raw"|"events"|"raw_events"
---@return lignum.Batch self
---@example return 200, batch:as("ndjson")
function Batch:as(format) end

---The same as a string.
---@where tasks
---@param format? "json"|"api"|"ndjson"|"raw"|"events"|"raw_events"  default "json"
---@return string
---@example print(topic("orders"):read { limit = 2 }:render())
function Batch:render(format) end

---Whether the client of a request has this already: its If-None-Match names the ETag. From then on the headers carry
---that ETag, if the range can never change. As headers of an answer a batch gives its content type,
---`Lignum-Next-Offset`, `Lignum-Epoch` and `Lignum-Earliest`.
---@where tasks
---@param req lignum.Request
---@return boolean
---@example if batch:known(req) then return 304, nil, batch end; return 200, batch, batch
function Batch:known(req) end

---@class lignum.Range
--- What read returned with format "records"; a body, and nothing else. It may begin below `from` and end past `to`,
--- because batches are not cut.
---@field first integer
---@field next integer   the offset to read on from
local Range = {}

---The same as of a batch.
---@where tasks
---@param req lignum.Request
---@return boolean
---@example local r = topic("orders"):read { format = "records" }; return 200, r, r
function Range:known(req) end

---@class lignum.Request
---@field method string
---@field path string                     percent-decoded, but for %2F, which stays as it is written
---@field target string                   path and query as they came
---@field params table<string, string>    of the route's {names}
---@field query table<string, string>     percent-decoded; of a repeated name the last
---@field headers table<string, string>   names in lower case; repeated ones joined with ", "
---@field body string
---@field peer string                     "address:port"
local Request = {}

---Headers, without building the table of all.
---@where tasks
---@param ... string   names, in any case
---@return string? ...   the value of each
---@example local token = req:header("Authorization")
function Request:header(...) end

---One of the `params`, without building the table of all.
---@where tasks
---@param name string
---@return string? value
---@example local name = req:param("name")
function Request:param(name) end

---The messages that append(request) would append, as tables: what on_publish gets to see.
---@where tasks
---@return lignum.Message[]? messages   header names in lower case
---@return string? message
---@return string? code
---@errors bad_value too_large
---@example local messages, why, code = req:messages()
function Request:messages() end

---The body as a table. A shape names the fields that there may be and their types ("string", "integer", "number",
---"boolean", "table", "any"; with `?` optional); any other field is an error, which names the field.
---@where tasks
---@param shape? table<string, string>
---@return table? value
---@return string? message
---@return string? code
---@errors bad_json bad_value
---@example local body = req:json { topic = "string", message = "string" }
function Request:json(shape) end

---@class lignum.http
http = {}

---An error as application/problem+json, to be returned by a handler: `return http.fail("not_found", "no such
---order")`.
---@where anywhere
---@param code string    a word of the table of errors
---@param detail? string  a sentence; default that of the table
---@param more? table     further members, such as `offset`, `earliest`, `limit`, `appended`
---@return integer status
---@return table body
---@return table headers
---@example if not msg then return http.fail("bad_value", why) end
function http.fail(code, detail, more) end

---@class lignum.route
route = {}

---Declares `METHOD /path/{name}` and its handler `function(req) return status, body, headers end`. The body is a
---string, a table (sent as JSON), a batch, or a function that gets `write(bytes)` and streams: write waits while
---much is unsent, and returns false when the client is gone. The headers are a table, or a string: the Content-Type
---alone.
---@where lignum.lua and routes, while they are loaded
---@param path string
---@param fn fun(req: lignum.Request): integer, any, table|string|nil
---@example route.get("/hello/{name}", function(req) return 200, { hello = req.params.name } end)
function route.get(path, fn) end
function route.post(path, fn) end
function route.put(path, fn) end
function route.patch(path, fn) end
function route.delete(path, fn) end

---@class lignum.json
json = {}

---@where anywhere
---@param value any
---@return string
---@example json.encode { ok = true, list = json.array {} }
function json.encode(value) end

---@where anywhere
---@param text string
---@return any value    json.null stands for null
---@return string? message
---@return string? code
---@errors bad_json
---@example local v, why = json.decode('{"a": 1}')
function json.decode(text) end

---Marks a table as a list, so that an empty one is `[]`.
---@where anywhere
---@param list table
---@return table list
---@example return 200, { names = json.array(names) }
function json.array(list) end

---@class lignum.node
node = {}

---@where anywhere
---@return string
---@example cluster { name = node.hostname() }
function node.hostname() end

---@class lignum.NodeInfo
---@field name string
---@field version string
---@field role string
---@field epoch integer
---@field cluster string
---@field incarnation string
---@field pid integer
---@field uptime number   seconds
---@field advertise string

---@where tasks
---@return lignum.NodeInfo
---@example print(node.info().epoch)
function node.info() end

---The epoch in which this node leads: each start of a node of its own takes a new one.
---@where tasks
---@return integer
---@example print(node.epoch())
function node.epoch() end

---@where tasks
---@return boolean ready
---@return string? why not
---@example print(node.ready())
function node.ready() end

---@class lignum.Histogram
---@field buckets { le: number, count: integer }[]   count of what took at most `le` seconds, rising
---@field count integer
---@field sum number         seconds

---@class lignum.RouteStats
---@field pattern string      "GET /ping"
---@field by_class integer[]  answers of 1xx to 5xx
---@field latency lignum.Histogram

---@class lignum.HttpStats
---@field connections integer
---@field in_flight integer
---@field accepted integer
---@field refused integer
---@field requests integer
---@field bytes_in integer
---@field bytes_out integer
---@field bad_requests integer
---@field timeouts integer
---@field routes lignum.RouteStats[]

---@class lignum.StoreStats
---@field sync lignum.Histogram
---@field syncs integer
---@field synced_files integer
---@field written_bytes integer
---@field files_open integer
---@field torn_bytes integer
---@field damaged integer
---@field disk_free integer
---@field disk_size integer

---@class lignum.VmStats
---@field memory integer
---@field memory_max integer
---@field cpu number
---@field tasks_started integer
---@field tasks_live integer
---@field tasks_failed integer
---@field budget_exceeded integer

---@class lignum.TopicStats
---@field name? string       not in totals; nor are first, next, bytes and segments
---@field first? integer
---@field next? integer
---@field bytes? integer
---@field segments? integer
---@field appended_messages integer
---@field appended_bytes integer
---@field read_messages integer
---@field read_bytes integer

---@class lignum.Stats
--- Times in seconds, sizes in bytes; the names are those of the C structures.
---@field http lignum.HttpStats
---@field store lignum.StoreStats
---@field vm lignum.VmStats
---@field process { cpu: number, rss: integer, fds: integer, fds_max: integer, start_time: number }
---@field topics lignum.TopicStats[]   the first by name
---@field topics_count integer
---@field totals lignum.TopicStats

---Counters of all layers, as /metrics shows them.
---@where tasks
---@param topics_max? integer   how many topics to list; default 100
---@return lignum.Stats
---@example print(node.stats().vm.memory)
function node.stats(topics_max) end

---Asks for a reload of lignum.lua; its outcome is said in the log.
---@where tasks
---@example node.reload()
function node.reload() end

---@class lignum.cluster
cluster = {}

---@class lignum.ClusterNode
---@field member string       "name:incarnation"
---@field name string
---@field http string         "host:port"
---@field replication? string

---@class lignum.Follower
---@field member string
---@field name string
---@field http? string
---@field connected boolean
---@field in_set boolean      counted in the synced set
---@field lag_messages integer
---@field lag_bytes integer
---@field lag_seconds number
---@field shipped_bytes integer

---@class lignum.ClusterStatus
---@field self lignum.ClusterNode
---@field cluster string      id, in hexadecimal
---@field role "alone"|"follower"|"leader"
---@field epoch integer
---@field leader? lignum.ClusterNode
---@field connected boolean   follower: to its leader
---@field register? lignum.Register   as last seen
---@field eligible boolean    may claim
---@field why? string         why not
---@field empty boolean       holds no message
---@field position { epoch: integer, messages: integer }
---@field suspended boolean   leader: not confirmed for a lease; acknowledges nothing
---@field regressed boolean   knows of a newer register than Consul has now, or of another history
---@field behind boolean      has been told of a newer register than it has read
---@field amnesiac boolean
---@field diverged integer    messages that were moved aside
---@field followers lignum.Follower[]
---@field shipped_bytes integer
---@field received_bytes integer
---@field elections integer   that this node has won since its start
---@field staleness? number   follower: seconds since it was level with its leader

---@class lignum.ClusterState
--- What the hooks are given.
---@field name string         this node's
---@field role string
---@field epoch integer
---@field leader? string      its name
---@field synced string[]     names of the synced set
---@field nodes { name: string, http: string, role: string, member: string }[]
---@field followers lignum.Follower[]
---@field position { epoch: integer, messages: integer }

---Who leads, who follows, how far they are.
---@where tasks
---@return lignum.ClusterStatus
---@example print(cluster.status().role)
function cluster.status() end

---Makes the register at Consul this node's: with its cluster id, and itself as the only member of the synced set. For
---a node with messages that meets an empty or foreign register. All other nodes follow what this one holds.
---@waits until this node leads
---@where tasks
---@return boolean? ok
---@return string? message
---@return string? code
---@errors bad_value unavailable
---@example cluster.adopt()
function cluster.adopt() end

---Leads without being a member of the synced set, as when all members are lost for good. Messages that only they had
---are lost.
---@waits until this node leads
---@where tasks
---@return boolean? ok
---@return string? message
---@return string? code
---@errors bad_value unavailable
---@example cluster.claim_unclean()
function cluster.claim_unclean() end

---@class lignum.time
time = {}

---Seconds since 1970 with milliseconds.
---@where anywhere
---@return number
---@example local began = time.now()
function time.now() end

---Seconds on a clock that nobody sets: how long something took, and until when to wait. Where it begins means nothing.
---@where anywhere
---@return number
---@example local until_then = time.clock() + 5
function time.clock() end

---@where anywhere
---@param seconds number
---@return string   RFC 3339 in UTC with milliseconds
---@example time.format(now())
function time.format(seconds) end

---@where anywhere
---@param text string  RFC 3339
---@return number? seconds
---@return string? message
---@return string? code
---@errors bad_value
---@example time.parse("2026-11-23T10:00:00Z")
function time.parse(text) end

---The same as time.now.
---@where anywhere
---@return number
---@example local began = now()
function now() end

---@waits for that long; 0 gives the others a turn
---@where tasks
---@param seconds number
---@example sleep(0.5)
function sleep(seconds) end

---Runs a function again and again, as a task of its own; never twice at once.
---@where lignum.lua, while it is loaded
---@param seconds number   between the end of one run and the start of the next
---@param fn fun()
---@example every(60, function() say.info("topics: " .. #topics()) end)
function every(seconds, fn) end

---@class lignum.Fetch
---@field url string
---@field method? string
---@field headers? table<string, string>
---@field body? string
---@field timeout? number      seconds
---@field redirects? integer   followed at most; default 0
---@field max? integer         bytes of the answer's body
---@field ca? string           file of certificates that the server's is checked by; default the system's
---@field cert? string         file of the certificate that says who we are
---@field key? string          file of its key
---@field fresh? boolean       on a connection of its own; otherwise a request may go out twice, when a kept one ends
---@field farewell? boolean    goes on while the broker shuts down
---@field leader? boolean      it goes to the leader: fails once that is silent for too long, or another node leads

---An outgoing HTTP request. Only http and https; redirects only up to `redirects`.
---@waits until the answer is there, or the timeout
---@where tasks
---@param request lignum.Fetch
---@return { status: integer, headers: table<string, string>, body: string }? answer
---@return string? message
---@return string? code
---@return boolean? unsent     true: a fresh request that reached nobody
---@errors bad_value fetch_failed timeout too_large busy stopping
---@example local r, why = fetch { url = "http://127.0.0.1:8500/v1/status/leader", timeout = 2 }
function fetch(request) end

---@class lignum.say
--- Writes one line to the log.
say = {}
---@where anywhere
---@param text string
---@example say.debug("cache miss: " .. key)
function say.debug(text) end
---@where anywhere
---@param text string
---@example say.info("loaded")
function say.info(text) end
---@where anywhere
---@param text string
---@example say.warn("the disk is slow")
function say.warn(text) end
---@where anywhere
---@param text string
---@example say.error("cannot reach the billing service")
function say.error(text) end

---In on_publish: refuses the message, with 400 unless `code` names another error.
---@where on_publish
---@param why string
---@param code? string
---@return table refusal
---@example if #msg.payload == 0 then return reject("empty message") end
function reject(why, code) end

---A hook, if you define it: sees each message before it is stored. It may change `payload`, `key` and `headers`, set
---another `topic` where the message stands alone, or return reject(...), which refuses the whole batch.
---@where you define it in lignum.lua
---@param msg lignum.Message   with `topic`
---@return table? refusal
---@example function on_publish(msg) if #msg.payload == 0 then return reject("empty message") end end
function on_publish(msg) end

---A hook, if you define it: may this request go on? Anything but true refuses it, and so does an error.
---@where you define it in lignum.lua
---@param req lignum.Request
---@return boolean allowed
---@return string? code    "unauthorized" or "forbidden"
---@return string? detail
---@example function authorize(req) return req:header("authorization") == "Bearer secret" end
function authorize(req) end

---A hook, if you define it: may this node try to lead? Anything but true is a no, and so is an error. Asked whenever
---there is no leader and the core would let it.
---@where you define it in lignum.lua
---@param state lignum.ClusterState
---@return boolean allowed
---@example function may_lead(state) return state.name ~= "backup" end
function may_lead(state) end

---A hook, if you define it: told when the leader is another one, or none, or of another epoch.
---@where you define it in lignum.lua
---@param event { leader?: lignum.ClusterNode, epoch: integer, leads: boolean, was?: string }   leads: this node does
---@example function on_leader_change(event) say.warn("leader: " .. (event.leader and event.leader.name or "none")) end
function on_leader_change(event) end

---@class lignum.Pending
---@field topic lignum.Topic
---@field tail integer
---@field disk integer      below it everything is on the leader's disk
---@field sealed integer    where the file being written begins
---@field shipped integer   below it everything may be sent
---@field due boolean       cluster.sync_interval has gone by

---A hook, if you define it: how far followers of a WAL topic may be sent. Asked on the leader, for each WAL topic that
---has more on disk than was shipped, when a file was sealed and each cluster.sync_interval. Without it: what is sealed
---at once, the rest when it is due.
---@where you define it in lignum.lua
---@param p lignum.Pending
---@return integer? offset   nothing: not yet
---@example function ship(p) return p.disk - p.shipped >= 1000 and p.disk or p.sealed end
function ship(p) end

---@class lignum.core
--- What only Lignum's own scripts use: `require "lignum.core"`. It also holds everything above that is written in C.
---@field version string
---@field errors table<string, { status: integer, sentence: string, retryable: boolean }>
---@field limits table<string, integer>   of core/base/limits.h, in lower case
---@field Request table                   the methods of requests
core = {}

---Names the hook that runs now, for errors; nil: none.
---@where scripts/lignum
---@param name? string
---@example core.where("on_publish")
function core.where(name) end

---Where a function on the call stack is: 1 the caller of this one, 2 its caller, as for error().
---@where scripts/lignum
---@param level integer
---@return string place   "lignum.lua:12"
---@example local place = core.caller(2)
function core.caller(level) end

---Registers the counters of a route.
---@where scripts/lignum
---@param pattern string
---@return integer id
---@example local id = core.route("GET /ping")
function core.route(pattern) end

---Appends what a request carries to the topic of that name, as topic:append(request) does, when the core understands it
---as it came: no JSON, and no content coding. Where there is a hook, it is shown the message first, and errors name it;
---then the request is published only when it is one message that has nothing but a payload, and the hook has left that
---as it was. The topic has to be there.
---@waits while the hook does, and until the topic's acknowledging mark has the message
---@where scripts/lignum
---@param topic string
---@param hook? fun(msg: lignum.Message): any   on_publish
---@return string|false|nil receipt   as topic:receipt gives it; false: it is not published, and not of that kind
---@return any message                what is wrong; with false: the message, which the hook has been shown
---@return any code                   with false: what the hook returned
---@errors forbidden bad_topic unknown_topic no_space too_large bad_value stopping not_enough_copies unknown_outcome
---@example local receipt, why, code = req:publish("orders", on_publish)
function Request:publish(topic, hook) end

---Reads of the topic of that name what a request's query asks for, where that is `from` as an offset or token and
---nothing else but whole numbers named to, limit, bytes and wait. False is for any other query, and for a token that is
---not of this history.
---@waits as long as the query says, as topic:wait does, where there is nothing yet
---@where scripts/lignum
---@param topic string
---@param form "json"|"ndjson"|"records"   to answer with
---@return lignum.Batch|lignum.Range|false|nil batch
---@return boolean|string|nil known        whether the client has it already (Batch:known); or what is wrong
---@return string? code
---@errors unknown_topic bad_topic offset_gone damaged too_many_requests stopping
---@example local batch, known, code = req:read("orders", "ndjson")
function Request:read(topic, form) end

---Makes a list of routes the tree in which they are found: of each its `method`, `path` and `id` are looked at.
---@where scripts/lignum
---@param routes lignum.Route[]
---@return userdata tree
---@example local tree = core.tree { { method = "GET", path = "/hello/{name}", id = core.route("GET /hello/{name}") } }
function core.tree(routes) end

---Finds the route of a request in a tree. It gets its `params` and is counted under the route. Without a route, the
---methods that its path has, if any.
---@where scripts/lignum
---@param tree userdata
---@return table? route
---@return table? methods
---@example local route, methods = req:route(tree)
function Request:route(tree) end

---The same for a method and a path.
---@where scripts/lignum
---@param tree userdata
---@param method string
---@param path string
---@return table? route
---@return table? methods
---@return table<string, string>? params
---@example local route, methods, params = core.walk(tree, "GET", "/ping")
function core.walk(tree, method, path) end
