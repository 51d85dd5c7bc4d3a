---@meta lignum
--- The Lua interface: describes every function that scripts may call and every hook. help(), the console's completion,
--- doc/api.md and editors use this description. A test compares it with the running tables.
---
--- Tags in addition to those of LuaLS: `@waits` until when a call waits (absent: it does not wait), `@where` it may be
--- called ("anywhere", or "tasks": request handlers, hooks, timers and console lines, but not while lignum.lua is
--- loaded), `@errors` the codes that it may return as `nil, message, code`, `@example` a line of Lua.

---@class lignum.Topic
--- A topic by name. It need not exist: then its methods fail with unknown_topic.
---@field name string
local Topic = {}

---@class lignum.Message
---@field payload string
---@field key? string
---@field headers? table<string, string>   in on_publish always a table, which is made at the first access
---@field offset? integer   only of messages that were read
---@field epoch? integer    only of messages that were read
---@field time? number      seconds since 1970, only of messages that were read

---Returns the topic with that name. With `gone` also one that is deleted, and that others have as their source.
---@where tasks
---@param name string
---@param gone? boolean
---@return lignum.Topic
---@example local t = topic("orders")
function topic(name, gone) end

---Returns all topics whose names match a pattern (`*` any characters, `?` one character), sorted by name.
---@where tasks
---@param pattern? string  default "*"; only a pattern that begins with `_` matches names that begin with `_`
---@return lignum.Topic[]
---@example for _, t in ipairs(topics("orders.*")) do print(t.name, t:info().next) end
function topics(pattern) end

---One page of the names of topics, sorted. A call looks at 10,000 topics at most, so it may return fewer names, or
---none, though there are more.
---@where scripts/lignum
---@param pattern string
---@param most integer      names
---@param after? string     only those that come later
---@param own? boolean      the broker's own topics, too
---@return string[] names
---@return string? next     the `after` with which to go on; nil: there are no more
---@example local names, next = core.topic_names("orders.*", 1000)
function core.topic_names(pattern, most, after, own) end

---Deletes the topics of these names, as far as there are any. After an error some may be deleted.
---@waits until the deletions are committed
---@where scripts/lignum
---@param names string[]
---@return integer? count
---@return string? message
---@return string? code
---@errors forbidden no_space stopping unknown_outcome
---@example core.topics_delete { "orders.1", "orders.2" }
function core.topics_delete(names) end

---@class lignum.AppendOptions
---@field ack? "peers"
---@field timeout? number   seconds
---@field request? lignum.Request
---@field expect? string    a token
---@field once? string      an idempotency key
---@field producer? string
---@field epoch? integer
---@field sequence? integer
---@field raw? boolean

---Appends one message, or a list of messages as one batch, which is stored as a whole or not at all. Given a request,
---it appends the request's body: as one message with `Lignum-Key` and `Lignum-Header-*`, or with content type
---application/x-ndjson one message per line. The headers `Producer-Id`, `Producer-Epoch`, `Producer-Seq`,
---`Idempotency-Key`, `If-Match` and `Lignum-Ack` are taken from that request, or from `options.request` when a handler
---appends something else for it. `expect` is a token (instead of one in If-Match): the batch is appended only where
---that points, which must be the end of the topic; otherwise append fails with precondition_failed before it waits.
---`once` is an idempotency key, instead of the header's; `producer`, `epoch` and `sequence` are what `Producer-Id` and
---the others say. On a follower the leader appends, after this node's on_publish has seen the messages. If the leader
---is lost meanwhile, that is repeated with `once` or `producer`, and is an unknown_outcome without. With no leader for
---2 seconds it is no_leader. After any error code but unknown_outcome the batch will never
---appear. A topic that does not exist is created by the rules of lignum.lua.
---@waits until the batch is acknowledged
---@where tasks
---@param what string|lignum.Message|(string|lignum.Message)[]|lignum.Request
---@param options? lignum.AppendOptions
---@return integer|true|nil first   the first offset; true: a duplicate whose place is not known any more
---@return integer|string count   the number of messages; or the message of the error
---@return integer|string epoch   or the code of the error
---@return table? more            `duplicate` = true: the request was in the log already. Of a problem: `limit`
---(too_large), `token` (precondition_failed: where the next message goes), `expected` (sequence_gap), `epoch` (fenced)
---@errors unknown_topic storage no_space too_large bad_value precondition_failed sequence_gap fenced stopping
---not_enough_copies no_leader unknown_outcome
---@example local first, count = topic("orders"):append { "one", { key = "k", payload = "two" } }
function Topic:append(what, options) end

---@class lignum.ReadRange
---@field from? integer
---@field to? integer
---@field limit? integer
---@field bytes? integer
---@field epoch? integer
---@field format? "records"
---@field whole? boolean     `bytes` divides no batch that was published as one: one that is larger is read once
---@field filter? lignum.Filter

---@class lignum.Filter
---@field key? string
---@field headers? table<string, string>

---Reads messages [from, to), as far as they are readable and fit into `limit` messages and `bytes` bytes. `epoch` is
---the epoch of the message before `from`, if the reader knows it: an empty result repeats it. With format "records" the
---result is stored batches, sent directly from the file; it can only be used as the body of an answer. With a filter,
---the batch has the messages that have its key and all of its headers; a call looks at 4 MiB of the log at most, so
---`next` may be before the end even when the batch is empty.
---@where tasks
---@param range lignum.ReadRange
---@return lignum.Batch|lignum.Range|nil batch
---@return string? message
---@return string? code
---@errors unknown_topic offset_gone damaged bad_range
---@example for i, m in ipairs(topic("orders"):read { from = 0, limit = 10 }) do print(m.offset, m.payload) end
function Topic:read(range) end

---Returns an iterator over the messages from an offset on, up to `to` or the end of the topic; with `wait` it waits so
---many seconds for each further one. It reads 1,000 at a time and lets other tasks run in between. What read would
---return as an error it raises.
---@waits with `wait`, for the next message
---@where tasks
---@param options? { from?: integer, to?: integer, wait?: number }   from: default the earliest
---@return fun(): lignum.Message?
---@example local n = 0; for m in topic("orders"):each { from = 0 } do n = n + #m.payload end; assert(n > 0)
function Topic:each(options) end

---Waits for a message. The number of requests that may wait is limited to three quarters of limits.tasks and of
---limits.connections; a request counts until it is answered.
---@waits until the topic has a readable message at `offset`, the timeout passes, or the request's client disconnects
---@where tasks
---@param offset integer
---@param timeout? number  seconds; default and maximum 60
---@return boolean? there
---@return string? message
---@return string? code
---@errors unknown_topic timeout stopping cancelled too_many_requests
---@example if topic("orders"):wait(100, 5) then print "there" end
function Topic:wait(offset, timeout) end

---Waits until this node shows everything that any node had acknowledged of the topic when it was called. On a follower
---the leader says how far that is, and messages of a wal topic are sent to it at once. The leader answers only once
---every member of the synced set has confirmed that it still follows: one that was stopped and replaced never answers.
---@waits for the leader, and for what it has
---@where tasks
---@param timeout? number  seconds, for each of these; default 5
---@return boolean? ok
---@return string? message
---@return string? code
---@errors unknown_topic no_leader unavailable busy timeout stopping cancelled
---@example if topic("orders"):barrier() then print(topic("orders"):info().next) end
function Topic:barrier(timeout) end

---Returns the offset of the first batch appended at or after a time; the next offset when there is none.
---@where tasks
---@param time number  seconds since 1970
---@return integer? offset
---@return string? message
---@return string? code
---@errors unknown_topic damaged
---@example topic("orders"):read { from = topic("orders"):offset_at(now() - 60) }
function Topic:offset_at(time) end

---Allows messages below `offset` to be sent to followers. Without a cluster it does nothing.
---@where tasks
---@param offset integer
---@return boolean? ok
---@return string? message
---@return string? code
---@errors unknown_topic bad_range
---@example topic("orders"):ship(topic("orders"):info().disk)
function Topic:ship(offset) end

---Removes files that have only messages below `offset` from this node, as retention does: whole sealed files, and none
---with messages that readers cannot see yet. Other nodes of a cluster keep theirs: what a node keeps is its own matter,
---decided by its own disk and by where its files begin, and is not part of the log that nodes copy. To trim on all, let
---a timer of lignum.lua do it, which runs on each node, or set `retain`.
---@where tasks
---@param offset integer
---@return integer? first   the earliest offset from now on
---@return string? message
---@return string? code
---@errors unknown_topic bad_range forbidden
---@example local t = topic("orders"); t:trim(math.max(0, t:info().next - 1000000))
function Topic:trim(offset) end

---Checks whether a token belongs to this topic's history, so whether the message before `offset` was written in that
---epoch. If not, the fourth result is the point up to which the histories agree. A node that may still receive that
---message returns true; one that cannot tell fails with unavailable. Epoch 0, that of a message which could not be
---read, is always true. `topic` is the token's third part; a topic of that name that was deleted and created again
---fails with log_truncated. With `reached`, a node that does not have the message yet fails with unavailable.
---@where anywhere
---@param epoch integer
---@param offset integer
---@param topic? integer
---@param reached? boolean
---@return boolean? ok
---@return string? message
---@return string? code
---@return { epoch: integer, offset: integer }? agree
---@errors unknown_topic log_truncated unavailable offset_beyond
---@example topic("orders"):check(3, 1000)
function Topic:check(epoch, offset, topic, reached) end

---@class lignum.Settings
---@field replication? "wal"|"live"
---@field copies? integer
---@field durability? "commit"|"interval"|"os"
---@field retain? { age?: number, bytes?: integer, messages?: integer, groups?: boolean }   age in seconds; 0: no bound
---@field expire? number      seconds without a use after which the topic is deleted; 0: never
---@field segment? { messages?: integer, bytes?: integer, age?: number }
---@field dedupe? { age?: number, keys?: integer }   which idempotency keys are remembered

---@class lignum.TopicInfo : lignum.Settings
---@field name string
---@field id string           "epoch:offset" of its creation
---@field first integer       the earliest offset
---@field next integer        the offset after the last readable message
---@field tail integer        the offset of the next message to append
---@field written integer     messages below it survive a crash of the process
---@field disk integer        messages below it are synced
---@field peers integer       messages below it are on the disks of the synced set
---@field ship integer        messages below it may be sent to followers; the tail without a cluster
---@field bytes integer
---@field segments integer
---@field damaged integer     known damaged ranges
---@field last_time? number   of the last batch, seconds since 1970
---@field labels table<string, string>   as create was given them
---@field source? string      the id of its source
---@field gone? boolean       it is deleted, and the source of others

---Returns the topic's settings and positions.
---@where tasks
---@return lignum.TopicInfo? info
---@return string? message
---@return string? code
---@errors unknown_topic
---@example print(topic("orders"):info().next)
function Topic:info() end

---Returns the topic's positions, as info does, without a table: next, tail, the epoch of the last message, id, gone,
---and how often its end has been cut off since the node started.
---@where tasks
---@return integer? next
---@return integer|string tail    or the message of the error
---@return integer|string epoch   or the code
---@return string id
---@return boolean gone
---@return integer cuts
---@errors unknown_topic
---@example local next, tail = topic("orders"):place()
function Topic:place() end

---Returns the topic's labels.
---@where tasks
---@return table<string, string>? labels
---@return string? message
---@return string? code
---@errors unknown_topic
---@example print(topic("orders"):labels().owner)
function Topic:labels() end

---Returns the last epoch and sequence of a producer (Producer-Id), acknowledged or not.
---@where tasks
---@param id string
---@return integer|false|nil epoch   false: the topic does not know it
---@return integer|string sequence   or the message of the error
---@return string? code
---@errors unknown_topic
---@example local epoch, sequence = topic("orders"):producer("till-4")
function Topic:producer(id) end

---Returns how the topic acknowledges, as each answer to a publish states it. With `next`: how it has acknowledged the
---messages below that offset, which is less if the mode has changed since.
---@where tasks
---@param next? integer   the offset after the appended messages
---@param ack? "peers"    as given to append
---@return string? durability  "commit", "interval" or "os"
---@return string committed    "written", "disk" or "peers"
---@return integer copies      nodes that have a message when it is acknowledged
---@errors unknown_topic
---@example print(topic("orders"):acknowledges())
function Topic:acknowledges(next, ack) end

---Makes the answer to a publish, as JSON: {"topic", "first", "next", "count", "epoch", "durability", "committed",
---"copies"}.
---@where tasks
---@param first integer|true   the results of append
---@param count integer
---@param epoch integer
---@param ack? "peers"    as given to append
---@param duplicate? boolean   as append returned it
---@param data? string         the message, in UTF-8: the answer is that of `POST /api/message`
---@return string? json
---@return string? message
---@return string? code
---@errors unknown_topic
---@example local t = topic("orders"); print(t:receipt(t:append("one")))
function Topic:receipt(first, count, epoch, ack, duplicate, data) end

---@class lignum.Birth
---@field labels? table<string, string>   what the creator wants to be kept with the topic, at most 4 KiB; never changes
---@field source? string                  the id of a topic whose messages are read as the beginning of this one

---Creates the topic, in one commit. Settings that are not given have their defaults. A topic that is deleted while it
---is the source of others takes no more messages, and can be read (topic, gone); it is removed with the last of them.
---@waits until the creation is committed
---@where tasks
---@param settings? lignum.Settings
---@param birth? lignum.Birth
---@return boolean? created    false when it exists, and is as asked for
---@return string? message
---@return string? code
---@errors bad_topic bad_value topic_exists unknown_topic no_space too_many_topics storage stopping no_leader
---unknown_outcome
---@example topic("orders"):create({ retain = { age = 7 * day } }, { labels = { owner = "till" } })
function Topic:create(settings, birth) end

---Changes the given settings and keeps the others.
---@waits until the change is committed
---@where tasks
---@param settings lignum.Settings
---@return boolean? ok
---@return string? message
---@return string? code
---@errors unknown_topic bad_value no_space stopping no_leader unknown_outcome
---@example topic("orders"):set { durability = "interval" }
function Topic:set(settings) end

---Deletes the topic and all its messages.
---@waits until the deletion is committed
---@where tasks
---@return boolean? ok
---@return string? message
---@return string? code
---@errors unknown_topic forbidden no_space stopping no_leader unknown_outcome
---@example topic("scratch"):delete()
function Topic:delete() end

---Returns a consumer group of the topic by name. It need not exist: then its methods fail with unknown_group.
---@where tasks
---@param name string
---@return lignum.Group
---@example local g = topic("jobs"):group("workers")
function Topic:group(name) end

---Returns the groups of the topic, sorted by name, as far as this node knows them.
---@where tasks
---@return lignum.Group[]? groups
---@return string? message
---@return string? code
---@errors unknown_topic
---@example for _, g in ipairs(topic("jobs"):groups()) do print(g.name) end
function Topic:groups() end

---@class lignum.Group
--- A consumer group of a topic. A follower has its leader do what the methods say; with no leader for 2 seconds they
--- fail with no_leader.
---@field topic string
---@field name string
local Group = {}

---@class lignum.GroupSettings
---@field lease_time? number  seconds
---@field deliveries? integer
---@field lease_max? integer
---@field order? "none"|"key"
---@field retry? { min?: number, max?: number, factor?: number }  seconds
---@field dead_letter? string   the name of a topic; json.null: none
---@field expire? number        seconds
---@field expired? "drop"|"dead"
---@field filter? { key?: string, headers?: table<string, string>, name?: string }   json.null: none

---Creates the group with these settings, as `PUT` does. `from` is the first offset that it delivers, by default the
---next one of the topic. The result is false when the group exists with the same settings.
---@waits until the group is acknowledged
---@where tasks
---@param settings? lignum.GroupSettings
---@param from? integer
---@return boolean? created
---@return string? message
---@return string? code
---@errors unknown_topic group_exists bad_value no_leader unavailable no_space unknown_outcome
---@example topic("jobs"):group("workers"):create { lease_time = 10 }
function Group:create(settings, from) end

---Changes the settings that are given.
---@waits until the change is acknowledged
---@where tasks
---@param settings lignum.GroupSettings
---@return boolean? ok
---@return string? message
---@return string? code
---@errors unknown_topic unknown_group group_exists bad_value no_leader unavailable no_space unknown_outcome
---@example topic("jobs"):group("workers"):set { deliveries = 5 }
function Group:set(settings) end

---Deletes the group.
---@waits until the deletion is acknowledged
---@where tasks
---@return boolean? ok
---@return string? message
---@return string? code
---@errors unknown_topic unknown_group no_leader unavailable no_space unknown_outcome
---@example topic("jobs"):group("workers"):delete()
function Group:delete() end

---Moves the cursor: the group goes on from `offset`, all leases end, and deliveries are counted anew. With a
---generation, only if that is the present one; else the fourth result is the present one.
---@waits until the change is acknowledged
---@where tasks
---@param offset integer
---@param generation? integer
---@return boolean? ok
---@return string? message
---@return string? code
---@return integer? generation
---@errors unknown_topic unknown_group offset_beyond precondition_failed no_leader unavailable no_space unknown_outcome
---@example topic("jobs"):group("workers"):seek(0)
function Group:seek(offset, generation) end

---@class lignum.GroupOldest
---@field offset integer
---@field age number          seconds
---@field state "new"|"leased"|"delayed"|"ready"|"held"   held: behind an earlier message of its key
---@field deliveries integer  that have ended and counted
---@field consumer? string    that has leased it

---@class lignum.GroupInfo
---@field topic string
---@field group string
---@field settings lignum.GroupSettings
---@field generation integer
---@field cursor integer      every offset below it is settled
---@field lag integer         messages that are not settled
---@field leased integer
---@field scheduled integer   messages that wait for a delay
---@field dying integer       dead messages whose letters are not written yet
---@field blocked? lignum.Blocked   nil unless it has 100,000 messages out, and delivers nothing further
---@field oldest? lignum.GroupOldest   the lowest message that is not settled
---@field consumers { name: string, leased: integer, last: number }[]
---@field redelivered integer
---@field dead integer
---@field removed integer
---@field outdated integer    messages whose TTL was over before they were delivered

---@class lignum.Blocked
---@field offset integer      of the message that most others wait for
---@field reason string       leased; delayed; dying: its dead letter is not written yet; ready: nobody claims it
---@field held integer        messages of its key that wait behind it
---@field until? number       when its lease or delay is over, in seconds since 1970
---@field consumer? string    that holds its lease
---@field key? string         where the order is "key"

---Describes the group.
---@where tasks
---@return lignum.GroupInfo? info
---@return string? message
---@return string? code
---@errors unknown_topic unknown_group no_leader unavailable
---@example print(topic("jobs"):group("workers"):info().lag)
function Group:info() end

---@class lignum.Claim
---@field consumer? string
---@field limit? integer   default 1
---@field bytes? integer   default 1 MiB
---@field wait? number     seconds; at most 60
---@field settle? lignum.Settle

---Leases messages: each has, besides what a read gives, `lease` and `delivery`. `settle` is done first, and its results
---are the second value.
---@waits until there is a message, `wait` passes or the request's client disconnects, and `settle` is acknowledged
---@where tasks
---@param options? lignum.Claim
---@return lignum.Message[]? messages
---@return string|{ lease: string, result: "ok"|"lease_lost" }[]|nil settled   or the message of the error
---@return string? code
---@errors unknown_topic unknown_group no_leader unavailable too_large bad_value too_many_requests unknown_outcome
---@example for _, m in ipairs(topic("jobs"):group("workers"):claim { limit = 10 }) do print(m.payload, m.lease) end
function Group:claim(options) end

---@class lignum.Settle
---@field ack? string[]
---@field release? (string|{ lease: string, delay?: number })[]
---@field reject? (string|{ lease: string, why?: string })[]
---@field extend? { lease: string, seconds: number }[]

---Settles leases. The results are in the order ack, release, reject, extend.
---@waits until the settles are acknowledged
---@where tasks
---@param what lignum.Settle
---@return { lease: string, result: "ok"|"lease_lost" }[]? results
---@return string? message
---@return string? code
---@errors unknown_topic unknown_group no_leader unavailable too_large bad_value not_enough_copies unknown_outcome
---@example topic("jobs"):group("workers"):settle { ack = { m.lease } }
function Group:settle(what) end

---Gives the messages of a group to a function, one after another, on the leader, until a reload. The group must exist.
---What the function returns settles the message: nothing acknowledges it, "release" and seconds deliver it again,
---"reject" and a reason make it dead. An error releases it. A message whose handling takes longer than `lease_time` is
---delivered again.
---@where lignum.lua, while it is loaded
---@param topic string
---@param group string
---@param fn fun(msg: lignum.Message): nil|"release"|"reject", number|string|nil
---@example consume("jobs", "mails", function(msg) assert(fetch { url = "http://mailer/", body = msg.payload }) end)
function consume(topic, group, fn) end

---@class lignum.Batch
--- The result of read: `#batch` messages; `batch[i]` is one of them as a table. A handler can return it as the body of
--- an answer; the core renders it.
---@field next integer   the offset at which to continue reading
---@field epoch integer  of its last message; if it is empty, of the message before `next`, or 0 when that is unknown
local Batch = {}

---Sets the format in which the batch is rendered as a body: "json" (as in /v1), "api" (as in /api/message), "ndjson",
---"raw" (one payload per line), "events" (text/event-stream; the data of an event is a line of ndjson), "raw_events"
---(the data is the payload), "array" (a JSON array whose elements are the payloads) or "bytes" (the payloads, one after
---the other). "json_values", "ndjson_values" and "events_values" give a payload that is JSON as the value `json`, not
---as the string `data`.
---@where tasks
---@param format string
---@return lignum.Batch self
---@example return 200, batch:as("ndjson")
function Batch:as(format) end

---Renders the batch to a string.
---@where tasks
---@param format? string  one of those of Batch:as; default "json"
---@return string
---@example print(topic("orders"):read { limit = 2 }:render())
function Batch:render(format) end

---Whether the client of a request already has this range, because its If-None-Match matches the range's ETag. After
---this call, the headers of a range that can never change contain that ETag. Used as the headers of an answer, a batch
---gives its content type, `Lignum-Next-Offset`, `Lignum-Epoch` and `Lignum-Earliest`.
---@where tasks
---@param req lignum.Request
---@return boolean
---@example if batch:known(req) then return 304, nil, batch end; return 200, batch, batch
function Batch:known(req) end

---@class lignum.Range
--- The result of read with format "records". It can only be used as a body. It may begin before `from` and end after
--- `to`, because it consists of whole batches.
---@field first integer
---@field next integer   the offset at which to continue reading
local Range = {}

---As for a batch.
---@where tasks
---@param req lignum.Request
---@return boolean
---@example local r = topic("orders"):read { format = "records" }; return 200, r, r
function Range:known(req) end

---@class lignum.Request
---@field method string
---@field path string                     percent-decoded, except %2F
---@field target string                   path and query, not decoded
---@field params table<string, string>    the values of the route's {names}
---@field query table<string, string>     percent-decoded; the last value of a repeated name
---@field headers table<string, string>   names in lower case; repeated ones joined with ", "
---@field body string
---@field peer string                     "address:port"
---@field route string?                   "POST /v1/topics/{topic}/messages"
---@field producer string?                its Producer-Id
---@field secure boolean                  it came by TLS
---@field user string?                    whom authorize has named; else the token; else the CN of the certificate
---@field token string?                   the name of its access token
---@field action string?                  for authorize: read, publish, consume, admin, observe, own; nil: no such path
---@field topic string?                   for authorize: the topic that it is about, from its path, query or body
local Request = {}

---Returns headers by name, without building the table of all. Several lines of one name are joined with ", ".
---@where tasks
---@param ... string   names, in any case
---@return string? ...   the value of each name
---@example local token = req:header("Authorization")
function Request:header(...) end

---Returns one of the `params`, without building the table of all.
---@where tasks
---@param name string
---@return string? value
---@example local name = req:param("name")
function Request:param(name) end

---Returns the messages that append(request) would append, as on_publish sees them.
---@where tasks
---@return lignum.Message[]? messages   with header names in lower case
---@return string? message
---@return string? code
---@return table? more   with too_large: `limit`, the limit that was exceeded
---@errors bad_value too_large
---@example local messages, why, code = req:messages()
function Request:messages() end

---The messages in a body of JSON, as `POST /v1/topics/{topic}/messages` takes them: an object, or a list of objects.
---Others run while a long body is read.
---@where tasks
---@return lignum.Message[]? messages
---@return string? message
---@return string? code
---@return table? more   with too_large: `limit`, the limit that was exceeded
---@errors bad_json bad_value too_large
---@example local messages, why, code = req:envelopes()
function Request:envelopes() end

---Appends the body as one message, without on_publish, if that is all that the request asks for: it has no content
---coding, and no header of the broker's or of a producer. `form` says what the body has to be: "bytes", or "json" for
---one value of at most 16 KiB that is no array. It is appended only at that place, as with `expect` of topic:append, of
---the topic whose id (topic:info) ends with `id`. It costs a route a fraction of topic:append.
---@waits until the message is acknowledged
---@where tasks
---@param topic lignum.Topic
---@param form "bytes"|"json"
---@param epoch integer
---@param offset integer
---@param id integer
---@return integer|false|nil first   false: it is another request, or not of that form, and nothing was done
---@return integer|string count
---@return integer|string epoch
---@return table? more               as the last result of topic:append
---@errors unknown_topic storage no_space precondition_failed stopping not_enough_copies unknown_outcome forbidden
---@example local first, why, code = req:append(topic("orders"), "bytes", 1, 7, 1)
function Request:append(topic, form, epoch, offset, id) end

---Returns the members of a body that is a JSON object of exactly these members, all of them strings, in the order of
---the names. It makes no table, and costs a fraction of `json`, which says of any other body what is wrong with it.
---@where tasks
---@param ... string   names of members
---@return string? ...   none: the body is something else, or longer than 16 KiB
---@example local name, text = req:strings("topic", "message")
function Request:strings(...) end

---Decodes the body, which must be a JSON object. A shape lists the allowed fields and their types ("string", "integer",
---"number", "boolean", "object", "list", "table" (either), "any"; optional with `?`). Any other field is an error.
---@where tasks
---@param shape? table<string, string>
---@return table? value
---@return string? message
---@return string? code
---@return table? more   with too_large: `limit`, the limit that was exceeded
---@errors bad_json bad_value too_large
---@example local body = req:json { topic = "string", message = "string" }
function Request:json(shape) end

---@class lignum.http
http = {}

---Makes an answer of type application/problem+json for a handler to return: `return http.fail("not_found", "no such
---order")`.
---@where anywhere
---@param code string    an error code
---@param detail? string  a sentence; default: the sentence of the code
---@param more? table     additional members, such as `offset`, `earliest`, `limit`, `appended`
---@return integer status
---@return table body
---@return table headers
---@example if not msg then return http.fail("bad_value", why) end
function http.fail(code, detail, more) end

---@class lignum.route
route = {}

---Declares the handler of `METHOD /path/{name}`, or `/path/{name...}` with the whole rest of the path: `function(req)
---return status, body, headers end`. The body is a string, a table (sent as JSON), a batch, or a function called
---with `write` and streams the body: write(bytes) and write(batch) wait while much is unsent, and return false when the
---client has disconnected. The headers are a table, or a string for the Content-Type alone.
---@where lignum.lua and routes, while they are loaded
---@param path string
---@param fn fun(req: lignum.Request): integer, any, table|string|nil
---@param access? { action?: string, topic?: fun(req: lignum.Request): string? }   for authorize; default: own, {topic}
---@example route.get("/hello/{name}", function(req) return 200, { hello = req.params.name } end)
function route.get(path, fn, access) end
function route.post(path, fn, access) end
function route.put(path, fn, access) end
function route.patch(path, fn, access) end
function route.delete(path, fn, access) end

---Declares the handler of `OPTIONS /path`. Without one, the answer lists the methods of the path.
---@where lignum.lua, while it is loaded
---@param path string
---@param fn fun(req: lignum.Request): integer, any, table|string|nil
---@param access? { action?: string, topic?: fun(req: lignum.Request): string? }   as for route.get
---@example route.options("/hello", function() return 204, nil, { Allow = "GET, OPTIONS" } end)
function route.options(path, fn, access) end

---Declares a handler that runs on the leader: another node forwards the request.
---@where lignum.lua, while it is loaded
---@param method string
---@param path string
---@param fn fun(req: lignum.Request): integer, any, table|string|nil
---@param access? { action?: string, topic?: fun(req: lignum.Request): string? }   as for route.get
---@example route.write("POST", "/orders", function(req) return 200, { topic("orders"):append(req.body) } end)
function route.write(method, path, fn, access) end

---Puts a function around the handlers of all routes but /healthz and /readyz, the built-in ones included. It is called
---after authorize; next(req) calls the handler inside it, and returns its answer, whose headers may be a table, a
---string, nil or a batch. The first one declared is the outermost.
---@where lignum.lua, while it is loaded
---@param fn fun(req: lignum.Request, next: fun(req: lignum.Request): integer, any, table|string|nil): integer, any, any
---@example route.use(function(req, next) say.debug(req.path) return next(req) end)
function route.use(fn) end

---Puts a function around the handler of one route, inside those of route.use.
---@where lignum.lua, while it is loaded
---@param pattern string   its method and path, as they are declared
---@param fn fun(req: lignum.Request, next: fun(req: lignum.Request): integer, any, table|string|nil): integer, any, any
---@example route.wrap("GET /v1/cluster", function(req, next) return next(req) end)
function route.wrap(pattern, fn) end

---@class lignum.json
json = {}

---Encodes a value as JSON, of 16 MiB at most.
---@where anywhere
---@param value any
---@return string
---@example json.encode { ok = true, list = json.array {} }
function json.encode(value) end

---Decodes JSON. Whole numbers become integers, other numbers floats. An object that gives a name twice is refused. A
---text may have core.limits.json_values_max values, within json_depth_max objects and lists. In a task, others run
---while a long text (from 16 KiB on) is decoded.
---@where anywhere
---@param text string
---@param values? integer   a lower limit of values, for texts from strangers
---@return any value    null is json.null
---@return string? message
---@return string? code
---@return table? more   with too_large: `limit`, the limit that was exceeded
---@errors bad_json too_large
---@example local v, why = json.decode('{"a": 1}')
function json.decode(text, values) end

---Splits the text of a JSON array into the texts of its elements, without making values of them. Any other JSON text is
---returned as the only element. In a task, others run while a long text is read.
---@where anywhere
---@param text string
---@return string[]? elements
---@return string? message
---@return string? code
---@return table? more   with too_large: `limit`, the limit that an element exceeds
---@errors bad_json too_large
---@example assert(json.split('[1, {"a": 2}]')[2] == '{"a": 2}')
function json.split(text) end

---Makes a table encode as a list, so that an empty one is `[]`. Lists of json.decode are such tables already.
---@where anywhere
---@param list table
---@return table list
---@example return 200, { names = json.array(names) }
function json.array(list) end

---Whether a value would be encoded as a list.
---@where anywhere
---@param value any
---@return boolean
---@example assert(json.is_array(json.decode "[]") and not json.is_array(json.decode "{}"))
function json.is_array(value) end

---@class lignum.node
node = {}

---Returns the name of the host.
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
---@field full boolean    its disk refused space in the last 10 seconds

---Describes this node.
---@where tasks
---@return lignum.NodeInfo
---@example print(node.info().epoch)
function node.info() end

---Returns the epoch in which this node leads. A node without a cluster takes a new one at each start.
---@where tasks
---@return integer
---@example print(node.epoch())
function node.epoch() end

---Whether this node is ready to serve.
---@where tasks
---@return boolean ready
---@return string? why   when it is not
---@example print(node.ready())
function node.ready() end

---Writes to topics' files what only memory and the commit log have of them, for a program that reads the files: a step
---of about 0.5 ms. All that there was at the first call is written when it answers 0.
---@where tasks
---@param left? integer   what the last call answered
---@return integer left   files that are to be written yet
---@example local left repeat left = node.write_files(left) sleep(0) until left == 0
function node.write_files(left) end

---@class lignum.Histogram
---@field buckets { le: number, count: integer }[]   cumulative: `count` took at most `le` seconds
---@field count integer
---@field sum number         seconds

---@class lignum.RouteStats
---@field pattern string      "GET /ping"
---@field by_class integer[]  the numbers of answers 1xx to 5xx
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
---@field name? string       name, first, next, bytes and segments are absent in totals
---@field first? integer
---@field next? integer
---@field bytes? integer
---@field segments? integer
---@field appended_messages integer
---@field appended_bytes integer
---@field read_messages integer
---@field read_bytes integer
---@field duplicates? integer   requests of producers that were in the log already; absent in totals, as is:
---@field gaps? integer         requests of producers that were refused because earlier ones are missing

---@class lignum.Stats
--- Times are in seconds, sizes in bytes.
---@field http lignum.HttpStats
---@field store lignum.StoreStats
---@field vm lignum.VmStats   of what runs lignum.lua
---@field tls { address: string, host: string, path: string, from: integer, until: integer }[]   certificates
---@field process { cpu: number, rss: integer, fds: integer, fds_max: integer, start_time: number }
---@field topics lignum.TopicStats[]   the first ones by name
---@field topics_count integer
---@field topics_expired integer   deleted by this node, because nobody has used them for their `expire`
---@field totals lignum.TopicStats

---Returns the counters of all layers, as in /metrics.
---@where tasks
---@param topics_max? integer   most topics to list; default 100
---@return lignum.Stats
---@example print(node.stats().vm.memory)
function node.stats(topics_max) end

---Reloads lignum.lua. The outcome is logged, too.
---@waits until the new configuration is live, or refused
---@where tasks
---@return boolean? ok
---@return string? errors   one a line; nothing has changed
---@return string? code
---@errors bad_value stopping
---@example node.reload()
function node.reload() end

---@class lignum.cluster
cluster = {}

---@class lignum.ClusterNode
---@field member string       "name:incarnation"
---@field name string
---@field http string         "host:port", or "https://host:port"
---@field replication? string
---@field forward? string     of a follower's leader: where writes are forwarded to, once the leader itself has told it

---@class lignum.Follower
---@field member string
---@field name string
---@field http? string
---@field connected boolean
---@field in_set boolean      counts in the synced set
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
---@field connected boolean   follower: connected to its leader
---@field problem? string      follower: why its last connection to the leader failed
---@field register? lignum.Register   the synced register as last read
---@field eligible boolean    this node may claim the register
---@field why? string         why it may not
---@field empty boolean       this node holds no messages
---@field lacks_topics boolean   it does not know yet which topics there are: its list begins with a snapshot to come
---@field position { epoch: integer, messages: integer }
---@field suspended boolean   leader: Consul has not confirmed it for a lease; it acknowledges nothing
---@field regressed boolean   this node knows of a register that is newer than Consul's, or of another history
---@field behind boolean      leader: a follower spoke of a newer register, and Consul has not been asked since
---@field full boolean        its disk refused space in the last 10 seconds
---@field copies integer      the smallest `copies` of any live topic
---@field copies_max integer  the largest
---@field amnesiac boolean    it may have lost messages that it acknowledged
---@field diverged integer    messages moved aside because the leader's history does not contain them
---@field followers lignum.Follower[]
---@field shipped_bytes integer
---@field received_bytes integer
---@field elections integer   won by this node since its start
---@field silent boolean      its leader is not heard any more
---@field staleness? number   seconds since it last knew that it had what the cluster has; nil: it leads and knows

---@class lignum.ClusterState
--- The argument of hooks.
---@field name string         this node's
---@field role string
---@field epoch integer
---@field leader? string      the leader's name
---@field synced string[]     names of the synced set
---@field nodes { name: string, http: string, role: string, member: string }[]
---@field followers lignum.Follower[]
---@field position { epoch: integer, messages: integer }

---Describes the cluster as this node sees it: roles, epoch, followers and their lag.
---@where tasks
---@return lignum.ClusterStatus
---@example print(cluster.status().role)
function cluster.status() end

---Claims the synced register for this node, with its cluster id and itself as the only member of the synced set. For a
---node with messages that finds an empty register or another cluster's. All other nodes then follow its history.
---@waits until this node leads
---@where tasks
---@return boolean? ok
---@return string? message
---@return string? code
---@errors bad_value unavailable
---@example cluster.adopt()
function cluster.adopt() end

---Leads without being a member of the synced set, when all members are lost for good. Messages that only they had are
---lost.
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

---Returns the seconds since 1970, with milliseconds.
---@where anywhere
---@return number
---@example local began = time.now()
function time.now() end

---Returns the seconds of a monotonic clock, for durations and deadlines. Its start is arbitrary.
---@where anywhere
---@return number
---@example local until_then = time.clock() + 5
function time.clock() end

---Formats a time.
---@where anywhere
---@param seconds number   since 1970
---@return string   RFC 3339 in UTC with milliseconds
---@example time.format(now())
function time.format(seconds) end

---Parses a time.
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

---Waits. With 0 it only lets other tasks run.
---@waits for that time
---@where tasks
---@param seconds number
---@example sleep(0.5)
function sleep(seconds) end

---Loads another file of Lua, found from the folder of lignum.lua, as if it stood here: with the same globals and verbs.
---@where lignum.lua, while it is loaded
---@param path string
---@return any ...   what the file returns
---@example include "routes/orders.lua"
function include(path) end

---Runs a function repeatedly in a task of its own. A run begins when the previous one has ended. With `once_per` only
---the cluster's leader runs it; at a change of the leader one run may be left out or repeated.
---@where lignum.lua, while it is loaded
---@param seconds number   from the end of a run to the start of the next
---@param fn fun()
---@param options? { once_per?: "cluster" }
---@example every(60, function() say.info("topics: " .. #topics()) end)
function every(seconds, fn, options) end

---Runs a function once, after some time, in a task of its own. While lignum.lua is loaded the time begins when it is
---live, and there is no result.
---@where anywhere
---@param seconds number
---@param fn fun()
---@return integer? id   for tasks.cancel
---@return string? message
---@return string? code
---@errors busy
---@example local id = after(3600, function() say.info "an hour later" end); assert(tasks.cancel(id))
function after(seconds, fn) end

---Runs a function at times that a calendar gives: minute, hour, day of the month, month, day of the week, each `*`, a
---number, a name (`jan`, `mon`), a range `1-5`, a step `*/10`, or a list of these; or `@hourly`, `@daily`, `@weekly`,
---`@monthly`, `@yearly`. With both days given, one of them is enough. A time that the zone's clocks skip does not come;
---of one that they show twice only the first counts, unless the hour is `*`. A run that takes longer than until the
---next time leaves that out.
---@where lignum.lua, while it is loaded
---@param times string
---@param fn fun()
---@param options? { zone?: string, once_per?: "cluster" }   zone: "Europe/Berlin", "local"; default "UTC"
---@example cron("0 3 * * mon", function() topic("old"):delete() end, { zone = "Europe/Berlin", once_per = "cluster" })
function cron(times, fn, options) end

---Runs a function in a task of its own, with arguments. An error in it is logged. It ends with the configuration that
---has started it.
---@where tasks
---@param fn fun(...)
---@param ... any   up to 32
---@return integer? id   for tasks.cancel
---@return string? message
---@return string? code
---@errors busy
---@example assert(spawn(function(name) say.debug("hello, " .. name) end, "world"))
function spawn(fn, ...) end

---Waits until no other task holds the lock of that name, and returns an object that holds it. It ends with
---`held:release()`, or when its variable goes out of scope: `local held <close> = lock "stock"`. Tasks get it in the
---order in which they asked. A task that asks for a lock that it holds waits for itself. A lock is the node's: requests
---of before a reload and the console hold the same ones.
---@waits until the lock is free, or for the timeout
---@where tasks
---@param name string
---@param timeout? number   seconds; default and maximum 60
---@return lignum.Held? held
---@return string? message
---@return string? code
---@errors timeout stopping cancelled
---@example local held <close> = lock("stock", 1); assert(held)
function lock(name, timeout) end

---Returns the signal of that name, on which tasks wait for another one. It is the node's, for the console as well.
---@where anywhere
---@param name string
---@return lignum.Signal
---@example assert(signal("work"):send() > 0)
function signal(name) end

---@class lignum.Held
--- A lock that a task holds.
local Held = {}

---Gives the lock to the task that waits for it longest. Again it does nothing.
---@where anywhere
---@example lock("stock"):release()
function Held:release() end

---@class lignum.Signal
local Signal = {}

---Waits until the signal is sent. With `seen`, a count that an earlier call has returned, sends since then are not
---missed.
---@waits until it is sent, or for the timeout
---@where tasks
---@param timeout? number   seconds; default and maximum 60
---@param seen? integer
---@return integer? count   how often it has been sent
---@return string? message
---@return string? code
---@errors timeout stopping cancelled
---@example local work = signal("work"); local n = work:send(); assert(work:wait(1, n - 1) == n)
function Signal:wait(timeout, seen) end

---Wakes all tasks that wait.
---@where tasks
---@return integer count   how often it has been sent
---@example signal("work"):send()
function Signal:send() end

---@class lignum.tasks
tasks = {}

---@class lignum.Task
---@field id integer
---@field where string     "every 60 s at lignum.lua:12", "GET /job/{id}", "spawn at lignum.lua:30"
---@field hook? string     the hook that runs in it
---@field state "running"|"ready"|"waits"
---@field age number       seconds since its start

---Lists the tasks that run scripts of lignum.lua or work for clients, at most 1,000.
---@where tasks
---@return lignum.Task[]
---@example for _, t in ipairs(tasks.list()) do assert(t.age >= 0) end
function tasks.list() end

---Ends a task where it waits; one that runs ends when it next waits. Its pending <close> variables run.
---@where tasks
---@param id integer
---@return boolean there
---@example assert(not tasks.cancel(0))
function tasks.cancel(id) end

---@class lignum.Fetch
---@field url string
---@field method? string
---@field headers? table<string, string>
---@field body? string
---@field timeout? number      seconds
---@field redirects? integer   most redirects to follow; default 0
---@field max? integer         most bytes of the answer's body
---@field to? string[]         connect only to addresses in these networks: see below
---@field connect? boolean     false, with `to`: resolve the name and judge its addresses, and send nothing
---@field ca? string           file of CA certificates to verify the server's with; default: the system's
---@field cert? string         file of the client's certificate
---@field key? string          file of the key to cert
---@field fresh? boolean       use a new connection; on a kept one that the server closes, a request may be sent twice
---@field retry? integer       repeat it up to so often, with growing pauses, when it may be repeated: see below
---@field farewell? boolean    continue while the broker shuts down
---@field leader? boolean      fail when the leader is silent for too long or another node leads

---Sends an HTTP or HTTPS request. With `retry` it is sent again, at most 10 times, when it did not reach the server;
---and, unless it is a POST or PATCH, when it failed or the answer is 429, 502, 503 or 504. The pauses begin at 0.1 s
---and double, up to 30 s; Retry-After is obeyed.
---
---For a URL that others have chosen, `to` lists the networks that it may lead to: "public" for the addresses of the
---Internet, others as "10.0.0.0/8", "::1" (at most 16). Each address is judged after its name is resolved, right before
---the connection to it, so a name that changes meanwhile leads nowhere else: forbidden. Such a fetch uses a new
---connection and follows no redirects. With `connect = false` it only says whether it would connect: the answer has the
---status 0.
---@waits until the answer is complete, or the timeout
---@where tasks
---@param request lignum.Fetch
---@return { status: integer, headers: table<string, string>, body: string }? answer
---@return string? message
---@return string? code
---@return boolean? unsent     true: a fresh request that did not reach the server
---@errors bad_value fetch_failed forbidden timeout too_large busy stopping
---@example local r, why = fetch { url = "http://127.0.0.1:8500/v1/status/leader", timeout = 2 }
function fetch(request) end

---@class lignum.crypto
--- Digests, random bytes, encodings, keys and signatures, by OpenSSL. Digests and signatures are bytes;
--- crypto.encode makes texts of them. One call takes at most 16 MiB.
crypto = {}

---Returns the SHA-256 digest of bytes: 32 bytes.
---@where anywhere
---@param bytes string
---@return string digest
---@example assert(crypto.encode(crypto.sha256("abc"), "hex"):sub(1, 8) == "ba7816bf")
function crypto.sha256(bytes) end

---Returns the SHA-512 digest of bytes: 64 bytes.
---@where anywhere
---@param bytes string
---@return string digest
---@example assert(#crypto.sha512("abc") == 64)
function crypto.sha512(bytes) end

---Returns the message authentication code HMAC (RFC 2104) of bytes. Compare it with crypto.equal.
---@where anywhere
---@param digest "sha256"|"sha384"|"sha512"
---@param key string
---@param bytes string
---@return string mac
---@example assert(#crypto.hmac("sha256", "key", "text") == 32)
function crypto.hmac(digest, key, bytes) end

---Returns random bytes that nobody can guess.
---@where anywhere
---@param count integer   at most 65,536
---@return string bytes
---@example local id = crypto.encode(crypto.random(16), "hex"); assert(#id == 32)
function crypto.random(count) end

---Whether two strings are equal. The time that it takes depends on their lengths only, so it does not tell a stranger
---how much of a guess is right.
---@where anywhere
---@param a string
---@param b string
---@return boolean
---@example assert(not crypto.equal("secret", "guess!"))
function crypto.equal(a, b) end

---Encodes bytes as a text: in hexadecimal, in base64 with padding, or in base64url without (RFC 4648).
---@where anywhere
---@param bytes string
---@param form "hex"|"base64"|"base64url"
---@return string text
---@example assert(crypto.encode("hello", "base64") == "aGVsbG8=")
function crypto.encode(bytes, form) end

---Decodes a text.
---@where anywhere
---@param text string
---@param form "hex"|"base64"|"base64url"
---@return string? bytes
---@return string? message
---@return string? code
---@errors bad_value
---@example assert(crypto.decode("aGVsbG8", "base64url") == "hello")
function crypto.decode(text, form) end

---Reads a key: a PEM text (a public key, or a private one without a password), or a JSON Web Key as a table. Keys are
---Ed25519, EC on P-256, P-384 or P-521, or RSA of 2048 to 4096 bits. Read a key once, while lignum.lua is loaded. Of a
---private key of Ed25519 `x` may be absent: 32 random bytes as `d` make a new key.
---@where anywhere
---@param source string|table
---@return lignum.Key? key
---@return string? message
---@return string? code
---@errors bad_value
---@example assert(not crypto.key { kty = "OKP", crv = "Ed25519", x = "too short" })
function crypto.key(source) end

---@class lignum.Key
--- A key of crypto.key.
local Key = {}

---Whether a signature of bytes is right. The algorithms are EdDSA, ES256, ES384, ES512, RS256, RS384, RS512, PS256,
---PS384 and PS512, and signatures have the form of RFC 7518. With an algorithm of another type than the key's it is
---false.
---@where anywhere
---@param algorithm string
---@param bytes string
---@param signature string
---@return boolean right
---@example local key = assert(crypto.key(PEM)); assert(key:verify("EdDSA", "text", key:sign("EdDSA", "text")))
function Key:verify(algorithm, bytes, signature) end

---Signs bytes with a private key.
---@where anywhere
---@param algorithm string   as for verify; it must be one of the key's type
---@param bytes string
---@return string signature
---@example local key = assert(crypto.key(PEM)); assert(#key:sign("EdDSA", "text") == 64)
function Key:sign(algorithm, bytes) end

---Returns the public part as a JSON Web Key: a table with kty, and crv, x, y or n, e.
---@where anywhere
---@return table<string, string> jwk
---@example assert(assert(crypto.key(PEM)):jwk().kty == "OKP")
function Key:jwk() end

---@class lignum.tokens
--- Access tokens, which hold on all nodes; any of them can make them.
tokens = {}

---@class lignum.Token
---@field name string
---@field topics string[]      patterns
---@field may string[]         read, publish, consume, admin, observe, own
---@field made? string         a time
---@field expires? string      a time; nil: never
---@field declared? boolean    in lignum.lua

---Makes an access token and returns its secret, which nothing shows again. `topics` and `may` are lists, or texts with
---commas; `expires` is a number of seconds from now, a span such as "30d", or a time.
---@where tasks
---@param name string
---@param options { topics: string|string[], may: string|string[], expires?: string|number }
---@return string? secret
---@return string? message
---@return string? code
---@errors token_exists conflict bad_value too_many_requests unavailable no_leader unknown_outcome
---@example tokens.add("ci", { topics = "orders.*", may = "publish,read", expires = "90d" })
function tokens.add(name, options) end

---Revokes an access token: requests that show it are refused from now on, and streams that it has opened end.
---@where tasks
---@param name string
---@return true? revoked
---@return string? message
---@return string? code
---@errors unknown_token conflict unavailable no_leader unknown_outcome
---@example tokens.revoke("ci")
function tokens.revoke(name) end

---All access tokens by name, without their secrets.
---@where tasks
---@return lignum.Token[]
---@example for _, t in ipairs(tokens.list()) do say.info(t.name) end
function tokens.list() end

---@class lignum.jwt
--- JSON Web Tokens (RFC 7519).
jwt = {}

---@class lignum.JwtOptions
---@field issuer? string|string[]      the token's iss must be one of them
---@field audience? string|string[]    the token's aud must contain one of them; absent: a token that has aud is refused
---@field algorithms? string[]         those accepted; default: all that the keys can check
---@field leeway? number               seconds by which the clocks may differ; default 0
---@field eternal? boolean             accept a token without exp
---@field type? string                 what typ in the token's head must be
---@field now? number                  the time to judge by; default: now()

---Checks a token and returns its claims. `keys` decides which algorithms count: a secret only HS256, HS384 and HS512,
---a key only those of its type, so a token cannot choose another one; "none" is never accepted. exp and nbf are
---checked always, iss and aud by the options. A leading `Bearer ` is skipped: a header can be given as it is.
---
---`keys` is a key of crypto.key, a secret, a JSON Web Key, a JSON Web Key Set (`{ keys = { ... } }`), a list of
---these, or `{ url = "https://...", ca = file }`: a set that is fetched, used for 5 minutes, fetched again when a token
---names a key that it lacks, and used for an hour when that fails. Keep the table: it is read once.
---@waits with a URL, for the first answer; at most 5 seconds
---@where tasks; without a URL anywhere
---@param token string?
---@param keys lignum.Key|string|table
---@param options? lignum.JwtOptions
---@return table? claims
---@return string? message
---@return string? code
---@errors unauthorized unavailable
---@example local claims, why, code = jwt.verify(nil, SECRET); assert(not claims and code == "unauthorized", why)
function jwt.verify(token, keys, options) end

---Makes a token.
---@where anywhere
---@param claims table
---@param key lignum.Key|string   a private key, or a secret
---@param algorithm string
---@param kid? string             names the key
---@return string token
---@example local t = jwt.sign({ exp = now() + 60 }, SECRET, "HS256"); assert(jwt.verify(t, SECRET).exp > now())
function jwt.sign(claims, key, algorithm, kid) end

---@class lignum.webhook
--- Webhooks that are signed as Standard Webhooks specifies (headers webhook-id, webhook-timestamp, webhook-signature).
webhook = {}

---Checks a webhook that has arrived, and returns its id, by which a repeated one can be recognised.
---@where anywhere
---@param secret string|string[]   "whsec_..."; several while the sender changes its secret
---@param req { headers: table<string, string>, body: string }   a request
---@param options? { tolerance?: number, now?: number }          seconds that its time may differ; default 300
---@return string? id
---@return string? message
---@return string? code
---@errors unauthorized
---@example assert(not webhook.verify(WHSEC, { headers = {}, body = "{}" }))
function webhook.verify(secret, req, options) end

---Makes the headers with which a webhook is sent.
---@where anywhere
---@param secret string   "whsec_" and the base64 of 24 to 64 bytes
---@param body string
---@param options? { id?: string, time?: integer }   default: a random id, and now
---@return table<string, string> headers
---@example local headers = webhook.sign(WHSEC, "{}"); assert(webhook.verify(WHSEC, { headers = headers, body = "{}" }))
function webhook.sign(secret, body, options) end

---@class lignum.shared
--- Data that belongs to the node, not to a configuration: it survives reloads, and ends with the process.
shared = {}

---Returns the dictionary of that name; it is made when it is first used. It holds strings, numbers, booleans, and
---copies of small tables (16 levels, 64 KiB encoded), by strings of up to 1,024 bytes. Every call is atomic. There may
---be 64 dictionaries, of 256 MiB together (16 of the default size); an entry costs 128 bytes beside its key and value.
---@where anywhere; its methods in tasks
---@param name string
---@param options? { bytes?: integer }   most bytes that it takes; default 16 MiB
---@return lignum.Dict
---@example local seen = shared.dict("seen", { bytes = 4 * MiB }); assert(seen:set("msg_1", true, hour))
function shared.dict(name, options) end

---@class lignum.Dict
local Dict = {}

---Returns the value of a key; nil when there is none, or it has expired. A table is a new copy.
---@where tasks
---@param key string
---@return any value
---@example local d = shared.dict("example"); d:set("a", { 1, 2 }); assert(d:get("a")[2] == 2)
function Dict:get(key) end

---Sets a value, also for a key that exists. nil deletes it.
---@where tasks
---@param key string
---@param value string|number|boolean|table|nil
---@param ttl? number   seconds after which it expires; absent: never
---@return boolean? ok
---@return string? message
---@return string? code
---@errors too_large
---@example local d = shared.dict("example"); assert(d:set("session", "al", 30 * minute))
function Dict:set(key, value, ttl) end

---Sets the value of a key that does not exist.
---@where tasks
---@param key string
---@param value string|number|boolean|table
---@param ttl? number
---@return boolean? added   false: the key exists, and nothing has changed
---@return string? message
---@return string? code
---@errors too_large
---@example local d = shared.dict("example"); if not d:add("msg_1", true, hour) then print "seen before" end
function Dict:add(key, value, ttl) end

---Replaces a value if it is the expected one.
---@where tasks
---@param key string
---@param old string|number|boolean|nil   nil: the key must not exist
---@param new string|number|boolean|table|nil
---@param ttl? number
---@return boolean? replaced
---@return string? message
---@return string? code
---@errors too_large
---@example local d = shared.dict("example"); d:set("n", 1); assert(d:cas("n", 1, 2) and not d:cas("n", 1, 3))
function Dict:cas(key, old, new, ttl) end

---Adds to a number. A key that does not exist counts as 0, and gets the ttl; that of an existing one stays.
---@where tasks
---@param key string
---@param by? number   default 1
---@param ttl? number
---@return number? value   the new one
---@return string? message
---@return string? code
---@errors bad_value too_large
---@example local hits = shared.dict("hits"); if hits:incr("10.0.0.1", 1, minute) > 100 then print "too many" end
function Dict:incr(key, by, ttl) end

---Deletes a key.
---@where tasks
---@param key string
---@return boolean existed
---@example local d = shared.dict("example"); d:set("old", 1); assert(d:delete("old"))
function Dict:delete(key) end

---Returns keys, in no order.
---@where tasks
---@param prefix? string
---@param limit? integer   most keys; default 1000
---@return string[] keys
---@example for _, key in ipairs(shared.dict("example"):keys("user.")) do print(key) end
function Dict:keys(prefix, limit) end

---Returns how full it is.
---@where tasks
---@return { count: integer, bytes: integer, bytes_max: integer }
---@example local info = shared.dict("example"):info(); assert(info.bytes <= info.bytes_max)
function Dict:info() end

---@class lignum.metrics
--- Metrics of your own, on /metrics beside the broker's. Their values go on over reloads. There may be 256 metrics, and
--- 1,000 series of each, 10,000 of all; changes beyond that are left out, and counted in lignum_metrics_dropped_total.
metrics = {}

---Declares a number that only rises. A metric of that name with other labels or of another kind is replaced.
---@where anywhere
---@param name string      of letters, digits, _ and :
---@param help string      one sentence
---@param labels? string[] names of up to 8 labels; each change then gives their values
---@return lignum.Meter
---@example local seen = metrics.counter("orders_total", "Orders seen.", { "region" }); seen:add(1, "eu")
function metrics.counter(name, help, labels) end

---Declares a number that rises and falls.
---@where anywhere
---@param name string
---@param help string
---@param labels? string[]
---@return lignum.Meter
---@example local depth = metrics.gauge("queue_depth", "Orders that wait."); depth:set(7); depth:add(-1)
function metrics.gauge(name, help, labels) end

---Declares a distribution.
---@where anywhere
---@param name string
---@param help string
---@param labels? string[]
---@param buckets? number[]   up to 32 upper bounds, which rise; default: from 1 ms to 10 s
---@return lignum.Meter
---@example local size = metrics.histogram("order_bytes", "Size of orders.", {}, { 100, 1000 }); size:observe(420)
function metrics.histogram(name, help, labels, buckets) end

---@class lignum.Meter
--- A metric. The values of its labels follow in the order of their names; each is cut to 128 bytes.
local Meter = {}

---Adds to a counter or gauge.
---@where tasks
---@param value? number   default 1; must be given if there are labels
---@param ... string|number
---@example metrics.counter("ticks_total", "Ticks."):add()
function Meter:add(value, ...) end

---Sets a gauge.
---@where tasks
---@param value number
---@param ... string|number
---@example metrics.gauge("temperature", "In degrees.", { "room" }):set(21.5, "kitchen")
function Meter:set(value, ...) end

---Counts a value in a histogram.
---@where tasks
---@param value number
---@param ... string|number
---@example metrics.histogram("work_seconds", "Time of work."):observe(0.25)
function Meter:observe(value, ...) end

---@class lignum.say
--- Writes one line to the log. Fields follow the text as name=value, sorted by name.
say = {}

---@where anywhere
---@param text string
---@param fields? table<string, any>   up to 32
---@example say.debug("cache miss: " .. key)
function say.debug(text, fields) end
---@where anywhere
---@param text string
---@param fields? table<string, any>   up to 32
---@example say.info("order stored", { id = 17, customer = "al" })
function say.info(text, fields) end
---@where anywhere
---@param text string
---@param fields? table<string, any>   up to 32
---@example say.warn("the disk is slow")
function say.warn(text, fields) end
---@where anywhere
---@param text string
---@param fields? table<string, any>   up to 32
---@example say.error("cannot reach the billing service")
function say.error(text, fields) end

---Makes the value with which on_publish rejects a message. The message is rejected also when the hook forgets to return
---it. The answer is 400, or the status of the code; a code that is not in the list may be given, and a status from 400
---to 599. The fields become further members of the answer.
---@where on_publish
---@param why string
---@param options? string|{ status?: integer, code?: string, fields?: table }   a code, or also a status and fields
---@return table refusal
---@example if #msg.payload == 0 then return reject("empty", { status = 422, code = "empty", fields = { at = 1 } }) end
function reject(why, options) end

---A hook: called with each message before it is stored, whoever appends it: clients, routes, timers, the console. It
---may change `payload`, `key` and `headers`, set another `topic`, or return reject(...), which rejects the whole batch.
---It does not see what topic:append with `raw = true` appends, nor what it appends itself. Messages of one batch may go
---to up to 16 topics; they are appended one topic after another, so after a failure the outcome is unknown_outcome.
---A batch with If-Match or a Producer-Id cannot be spread.
---@where you define it in lignum.lua
---@param msg lignum.Message   with `topic`
---@param ctx lignum.Request|table   the request that publishes it; without one an empty table
---@return table? refusal
---@example function on_publish(msg, ctx) msg.headers["by"] = ctx.user or "-" end
function on_publish(msg, ctx) end

---A hook: called with each message once it is acknowledged, on the node that took the append, one call after another in
---their order. No publish waits for it. It may take 10 s for one message; up to 10,000 messages and 16 MiB wait for it,
---and what does not fit in is left out, which the log says. It is not shown what it appends itself, duplicates, and
---what waits at a reload or a stop: for what must not be lost, use `consume`.
---@where you define it in lignum.lua
---@param msg lignum.Message   with `topic`, `offset` and `epoch`
---@param ctx { user?: string, peer?: string, route?: string, producer?: string }
---@example function on_published(msg, ctx) shared.dict("seen"):incr(msg.topic) end
function on_published(msg, ctx) end

---A hook: whether a request is allowed. Any result but true or a user refuses it, and so do an error (500) and no
---answer within a second (503); it may wait. It is asked after the access tokens, which refuse what a token may not,
---and before anything tells whether the path exists. The request says which `topic` it is about, which `token` it
---shows, and what its `action` is, the same on /api and /v1: `read`, `publish`, `consume`, `admin` (changes of topics),
---`observe` (lists, metrics, the cluster's state) or `own` (a route of lignum.lua). What a call does to a second topic
---(`dead_letter`, redrive, fork) is asked for, too.
---@where you define it in lignum.lua
---@param req lignum.Request
---@return boolean|{ user: string } allowed   the user is req.user for handlers, and ctx.user for on_publish
---@return string? code    "unauthorized" (401), "forbidden" (403); default: 403 with a header Authorization, else 401
---@return string? detail
---@example function authorize(req) return req.action == "read" or req:header("authorization") == "Bearer secret" end
function authorize(req) end

---A hook: whether this node may try to lead. Any result but true means no, and so do an error, and no answer within a
---second. Called while there is no leader and this node could lead.
---@where you define it in lignum.lua
---@param state lignum.ClusterState
---@return boolean allowed
---@example function may_lead(state) return state.name ~= "backup" end
function may_lead(state) end

---A hook: called once this lignum.lua is in force, after the start and after a reload, in a task of its own. Requests
---may come before it ends. It has a second; an error is logged.
---@where you define it in lignum.lua
---@example function on_start() shared.dict("config"):set("since", now()) end
function on_start() end

---A hook: called when a reload has put another lignum.lua in the place of this one, or the broker stops. Its timers and
---spawned tasks end then, too. It has a second; an error is logged. While the broker stops it can append, and not
---sleep.
---@where you define it in lignum.lua
---@example function on_unload() say.info("the next lignum.lua is in force") end
function on_unload() end

---A hook: decides when a message is delivered again by its group, after its lease was over ("expired") or was released
---without a delay ("released"). It has a second; without an answer the group's `retry` counts.
---@where you define it in lignum.lua
---@param msg lignum.Message
---@param deliveries integer   that have ended and counted
---@param why "expired"|"released"
---@return number|"dead"|nil   seconds until then; or the message is dead; or as the group's settings say
---@example function on_retry(msg, n, why) if n > 3 then return "dead" end; return n * 10 end
function on_retry(msg, deliveries, why) end

---A hook: called when the leader or its epoch has changed, also when there is no leader any more. It has a second.
---@where you define it in lignum.lua
---@param event { leader?: lignum.ClusterNode, epoch: integer, leads: boolean, was?: string }   was: the former leader
---@example function on_leader_change(event) say.warn("leader: " .. (event.leader and event.leader.name or "none")) end
function on_leader_change(event) end

---@class lignum.Pending
---@field topic lignum.Topic
---@field tail integer
---@field disk integer      messages below it are on the leader's disk
---@field sealed integer    the first offset of the active file
---@field shipped integer   messages below it may already be sent
---@field due boolean       cluster.sync_interval has passed

---A hook: up to which offset a WAL topic is sent to followers. Called on the leader for each WAL topic that has more on
---disk than was shipped: when a file is sealed, and every cluster.sync_interval. Without it sealed files are shipped at
---once, and the rest when it is due. So they are when the hook fails, returns an offset beyond p.disk, or does not
---answer within a second.
---@where you define it in lignum.lua
---@param p lignum.Pending
---@return integer? offset   nil: nothing more yet
---@example function ship(p) return p.disk - p.shipped >= 1000 and p.disk or p.sealed end
function ship(p) end

---@class lignum.core
--- For Lignum's own scripts: `require "lignum.core"`. It also contains the functions above that are written in C.
---@field version string
---@field errors table<string, { status: integer, sentence: string, retryable: boolean }>
---@field limits table<string, integer>   of core/base/limits.h, in lower case
---@field world "core"|"operator"         which one this is (core/script/worlds.h)
---@field Request table                   the methods of Request
core = {}

---The CRC-32C of bytes.
---@where scripts/lignum
---@param bytes string
---@return integer
---@example assert(core.crc32c("123456789") == 0xe3069283)
function core.crc32c(bytes) end

---@class lignum.base64
--- Base64 (RFC 4648, with padding), for Lignum's own scripts: `core.base64`.
base64 = {}

---Encodes bytes.
---@where scripts/lignum
---@param bytes string
---@return string
---@example local text = core.base64.encode("hello")
function base64.encode(bytes) end

---Decodes a text.
---@where scripts/lignum
---@param text string
---@return string? bytes   nil: the text is not valid
---@example local bytes = core.base64.decode("aGVsbG8=")
function base64.decode(text) end

---Returns the internal topic _streams, which only this handle reads and appends to.
---@where scripts/lignum
---@return lignum.Topic
---@example local place = core.internal():place()
function core.internal() end

---Whether a text is what `to` of fetch takes.
---@where scripts/lignum
---@param text string
---@return boolean
---@example assert(core.is_network("10.0.0.0/8"))
function core.is_network(text) end

---Appends as topic:append does, without on_publish.
---@waits until the batch is acknowledged
---@where scripts/lignum
---@param topic lignum.Topic
---@param what any
---@param options? table
---@return integer? first
---@return integer|string count
---@return integer|string epoch
---@return table? more
---@errors unknown_topic storage no_space too_large bad_value precondition_failed stopping not_enough_copies
---@example local first = core.append(topic("orders"), "one")
function core.append(topic, what, options) end

---Checks the files of a listener with TLS.
---@where scripts/lignum
---@param files string   their description (core/net/tls_server.h)
---@return integer[]? until   when each certificate expires, in seconds since 1970
---@return string? problem
---@example local found, problem = core.certificates("\trequired\n\tnode.pem\tnode.key\n")
function core.certificates(files) end

---Returns the name of the hook that runs in this task.
---@where scripts/lignum
---@return string? name
---@example local name = core.hook()
function core.hook() end

---Keeps a refusal of the hook that runs; core.refusal takes it.
---@where scripts/lignum
---@param refusal any
---@example core.refuse(refusal)
function core.refuse(refusal) end

---Returns what the running hook has refused, once.
---@where scripts/lignum
---@return any refusal
---@example local refusal = core.refusal()
function core.refusal() end

---Returns what tells the leader the name in the client's certificate, when this node forwards the request to it.
---@where scripts/lignum
---@return string? text   nil: there is no certificate, or this node has no secret
---@example local text = req:vouch()
function Request:vouch() end

---Sets user, topic and action of a request.
---@where scripts/lignum
---@param facts { user?: string, topic?: string, action?: string }
---@example req:know { action = "read", topic = "orders" }
function Request:know(facts) end

---One of Lignum's own scripts, or of a rock, as a function with these globals. It is compiled only if its text has
---changed since a world of this process has loaded it.
---@where scripts/lignum
---@param path string
---@param env table
---@return function? chunk
---@return string? message
---@example local chunk = core.load_script("scripts/lignum/near.lua", {})
function core.load_script(path, env) end

---The text of lignum.lua, or of a file that it names. While the process starts that may be a pipe, to which somebody
---writes within 2 seconds.
---@where scripts/lignum
---@param path string
---@return string? text
---@return string? message
---@example local text = core.read_file("/etc/hostname")
function core.read_file(path) end

---string.dump, which scripts do not have: the bytecode of a function.
---@where scripts/lignum
---@param fn function
---@return string
---@example assert(core.dump(function() end):sub(2, 4) == "Lua")
function core.dump(fn) end

---Lua's load, whose chunks see these globals unless they are given others.
---@where scripts/lignum
---@param env table
---@return function
---@example assert(core.loader({ x = 1 })("return x")() == 1)
function core.loader(env) end

---The task runs the operator's code from now on: it gives way to others after each slice. `closed`: without the reserve
---of memory that is kept for the broker's own code.
---@where scripts/lignum
---@param closed boolean
---@example core.operator_code(true)
function core.operator_code(closed) end

---Sets the name of the hook that runs, for error messages; nil: none.
---@where scripts/lignum
---@param name? string
---@example core.where("on_publish")
function core.where(name) end

---Returns the place of a call: with level 1 of the calling function, 2 of its caller, as for error().
---@where scripts/lignum
---@param level integer
---@return string place   "lignum.lua:12"
---@example local place = core.caller(2)
function core.caller(level) end

---Calls an entry point of the other world (scripts/lignum/init.lua, duties.lua), which cannot wait. Arguments and
---results are carried by copy: plain values, and tables of these. Raises the errors of the entry point.
---@where scripts/lignum
---@param entry string
---@param ... any
---@return any ...
---@example local known = core.call "roster"
function core.call(entry, ...) end

---Calls an entry point of the other world in a task, and waits for it, at most that long: then it is cancelled. Values
---are carried as by core.call.
---@waits until the entry point returns
---@where scripts/lignum
---@param seconds number
---@param entry string
---@param ... any
---@return any ...   what it returns; or nil, the message of its error, and the code
---@errors timeout script_error script_timeout script_memory
---@example local ok, result, code = core.ask(1, "policy", "may_lead", state)
function core.ask(seconds, entry, ...) end

---Calls a function in a task of its own, and waits for it, at most that long: then it is cancelled.
---@waits until the function returns
---@where scripts/lignum
---@param seconds number
---@param where string   names the task in messages
---@param fn fun()       the operator's code, as a policy is
---@return boolean? done
---@return string? message   of its error
---@return string? code
---@errors timeout script_error script_timeout script_memory
---@example local done, why = core.within(1, "may_lead", function() allowed = may_lead(state) end)
function core.within(seconds, where, fn) end

---Counts a call of a hook or timer that has ended.
---@where scripts/lignum
---@param kind "hook"|"timer"
---@param name string
---@param seconds number
---@param problem? any   why it failed
---@example core.called("hook", "ship", 0.001)
function core.called(kind, name, seconds, problem) end

---@class lignum.Calls
---@field kind "hook"|"timer"
---@field name string
---@field calls integer
---@field errors integer
---@field seconds number          of all calls
---@field p50 number              seconds below which half of the calls stay
---@field p99 number              seconds below which 99 % of the calls stay
---@field problem? string         the error of the last call that failed
---@field problem_time? number    when that was

---What is known of the calls of hooks and timers since this process began.
---@where scripts/lignum
---@return lignum.Calls[]
---@example for _, c in ipairs(core.calls()) do print(c.name, c.errors) end
function core.calls() end

---With true, begins a profile: at every 5 ms of CPU time the stack of the script that runs is counted, in all worlds.
---With false, ends it; the result is nil when there is none.
---@where scripts/lignum
---@param on boolean
---@return true|table<string, integer>|nil stacks   [functions from the outermost on, joined by ";"] = samples
---@return string? message
---@return string? code
---@errors busy
---@example if core.profile(true) then core.sleep(1); print(next(core.profile(false))) end
function core.profile(on) end

---Begins a canary: lignum.lua is loaded again, as a world that only judges (canary.lua).
---@where scripts/lignum
---@example core.canary_begin(); repeat core.sleep(0.1) until core.canary_state() ~= "loading"
function core.canary_begin() end

---Ends it.
---@where scripts/lignum
---@example core.canary_end()
function core.canary_end() end

---@where scripts/lignum
---@return "off"|"loading"|"on"|"aborted"|"refused" state
---@return string why     it was aborted, or lignum.lua was refused
---@example if core.canary_state() == "on" then core.canary_end() end
function core.canary_state() end

---Shows a message to the canary, with what the live hook has decided.
---@where scripts/lignum
---@param topic string
---@param message lignum.Message
---@param decision table    the message as it goes on; or `why` and `code`
---@return boolean on
---@example core.canary_show("orders", { payload = "x" }, { topic = "orders", payload = "x" })
function core.canary_show(topic, message, decision) end

---@where scripts/lignum
---@return table? report    nil: there is no canary
---@example local report = core.canary_report()
function core.canary_report() end

---The variables that a function has kept, by name.
---@where scripts/lignum
---@param fn function
---@return table<string, any>
---@example local kept = 1; assert(core.unfold(function() return kept end).kept == 1)
function core.unfold(fn) end

---Lists what is in diverged/ of the data directory, at most 1000 names.
---@where scripts/lignum
---@return string[]
---@example print(#core.diverged())
function core.diverged() end

---Returns the metrics of scripts in Prometheus' text format.
---@where scripts/lignum
---@return string
---@example local text = core.metrics_text()
function core.metrics_text() end

---Registers the counters of a route.
---@where scripts/lignum
---@param pattern string
---@return integer id
---@example local id = core.route("GET /ping")
function core.route(pattern) end

---Appends a request's body to a topic, as topic:append(request) does, if the core can use the body directly: it is not
---JSON and has no content coding. With a hook, the body must also be a single message with nothing but a payload; the
---hook is called with it first, and the message is published only if the hook leaves it unchanged. The topic must
---exist. A node that follows fails with not_leader before it looks at anything.
---@waits while the hook waits, and until the message is acknowledged
---@where scripts/lignum
---@param topic? string               nil: what stands for {topic} in the request's path
---@param hook? fun(msg: lignum.Message): any   on_publish
---@param payload? string             appended instead of the body; the receipt is then that of /api
---@return string|false|nil receipt   as from topic:receipt; false: nothing was published
---@return any message                with false: the message, if the hook was called with it
---@return any code                   with false: the result of the hook
---@return table? more                as the last result of topic:append
---@errors forbidden bad_topic unknown_topic no_space too_large bad_value precondition_failed sequence_gap fenced
---stopping not_enough_copies unknown_outcome not_leader
---@example local receipt, why, code = req:publish("orders", on_publish)
function Request:publish(topic, hook, payload) end

---Reads the range of a request's query from a topic. It supports only queries with `from` as an offset or token, and
---to, limit, bytes and wait as whole numbers; for any other query, and for a token of another history, the result is
---false.
---@waits as topic:wait, for the time in the query, when there is nothing to read yet
---@where scripts/lignum
---@param topic? string               nil: what stands for {topic} in the request's path
---@param form "json"|"ndjson"|"records"   the format of the answer
---@return lignum.Batch|lignum.Range|false|nil batch
---@return boolean|string|nil known        whether the client already has it (Batch:known); or the message of the error
---@return string? code
---@errors unknown_topic bad_topic offset_gone damaged too_many_requests stopping
---@example local batch, known, code = req:read("orders", "ndjson")
function Request:read(topic, form) end

---Builds the tree in which routes are found. It uses the `method`, `path` and `id` of each route.
---@where scripts/lignum
---@param routes lignum.Route[]
---@return userdata tree
---@example local tree = core.tree { { method = "GET", path = "/hello/{name}", id = core.route("GET /hello/{name}") } }
function core.tree(routes) end

---Finds the route of a request. Sets the request's `params`, and counts it for the route. Without a route, the second
---result has the methods that its path supports, as in the header Allow, if any.
---@where scripts/lignum
---@param tree userdata
---@return table? route
---@return string? allow
---@example local route, allow = req:find(tree)
function Request:find(tree) end

---Finds the route of a method and a path.
---@where scripts/lignum
---@param tree userdata
---@param method string
---@param path string
---@return table? route
---@return string? allow
---@return table<string, string>? params
---@example local route, allow, params = core.walk(tree, "GET", "/ping")
function core.walk(tree, method, path) end

---Makes a tree the one by which requests without a route are refused before their body is read; without one, none are.
---A request is answered by the handler of its route in `handlers`, if there is one and neither access tokens nor limits
---of one client have to be looked at before; any other one by the world's function `handle`.
---@where scripts/lignum
---@param tree? userdata
---@param handlers? (function|false)[]   by the number of the route in the list that the tree was made from
---@example core.serve(tree)
function core.serve(tree, handlers) end
