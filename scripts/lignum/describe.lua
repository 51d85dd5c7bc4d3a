--- What /openapi.json says of each operation beside its schemas: its tag, what a token needs for it, where it is
--- described, and an example of its body. A test sends each example to a node.
local core = require "lignum.core"

local list = core.json.array

local M = {}

-- The first pattern that a path matches says its tag; `section` is the one of doc/http.md, `read` that of a GET.
local TAGS <const> = {
  { name = "original", path = "^/api/", section = "the-original-interface", description = "The original interface" },
  { name = "original", path = "^/ping$", section = "the-original-interface" },
  { name = "groups", path = "/groups", section = "groups", description = "Groups of consumers that share a topic" },
  { name = "messages", path = "/messages$", section = "publishing", read = "reading",
    description = "Publish, read and follow messages" },
  { name = "topics", path = "^/v1/topics", section = "topics", description = "Topics and their settings" },
  { name = "access", path = "^/v1/tokens", section = "access", description = "Access tokens" },
  { name = "access", path = "^/v1/me$", section = "access" },
  { name = "node", path = "", section = "the-node", description = "The node, its health and its cluster" },
}

local OPEN <const> = { ["/healthz"] = true, ["/readyz"] = true }

-- Bodies by operation, of which the test takes the topic "orders", the group "mails" and what the texts name.
local EXAMPLES <const> = {
  postApiMessage = { ["application/json"] = { topic = "orders", message = "hello" } },
  postApiTopics = { ["application/json"] = { name = "letters", replication = "wal" } },
  putV1TopicsTopic = { ["application/json"] = { replication = "wal", retain = { age = 604800 } } },
  patchV1TopicsTopic = { ["application/json"] = { retain = { bytes = 1073741824 } } },
  postV1TopicsTopicMessages = {
    ["application/json"] = list { { key = "42", headers = { source = "shop" }, data = "hello" }, { base64 = "AP8=" } },
    ["application/x-ndjson"] = "one\ntwo\n",
    ["*/*"] = "hello",
  },
  postV1TopicsTopicTrim = { ["application/json"] = { before = "-7d" } },
  putV1TopicsTopicGroupsGroup = { ["application/json"] = { from = "earliest", lease_time = 60, dead_letter = "dead" } },
  patchV1TopicsTopicGroupsGroup = { ["application/json"] = { deliveries = 5 } },
  postV1TopicsTopicGroupsGroupClaim = { ["application/json"] = { consumer = "worker-1", limit = 10, wait = 20 } },
  postV1TopicsTopicGroupsGroupSettle = { ["application/json"] = { ack = list { "a-lease-of-a-claim" } } },
  postV1TopicsTopicGroupsGroupSeek = { ["application/json"] = { to = "earliest" } },
  postV1TopicsTopicGroupsGroupRedrive = { ["application/json"] = { limit = 100 } },
  putV1TopicsTopicGroupsGroupCursor = { ["application/json"] = { next = "0:1" } },
  postV1Tokens = {
    ["application/json"] = { name = "shop", topics = list { "orders.*" }, may = list { "publish" }, expires = "30d" },
  },
  postV1Console = { ["application/json"] = { line = "#topics()" } },
  postV1ConsoleComplete = { ["application/json"] = { line = "node.ho" } },
}

local function tag_of(path)
  for _, tag in ipairs(TAGS) do
    if path:find(tag.path) then return tag end
  end
end

-- What a token needs for a route, as a sentence; "" where that depends on more than can be said here.
local function needs(route, path)
  if OPEN[path] then return "It needs no token." end
  if not route or type(route.action) == "function" then return "" end
  if route.action == "any" then return "Any token may." end
  local where = route.all and " on all topics" or path:find("{topic}", 1, true) and " on the topic" or ""
  return ("A token needs the action `%s`%s."):format(route.action, where)
end

---The tags of the document.
---@return table[] tags  each with a name and a description
function M.tags()
  local tags = list {}
  for _, tag in ipairs(TAGS) do
    if tag.description then tags[#tags + 1] = { name = tag.name, description = tag.description } end
  end
  return tags
end

---Gives each operation its tag, description and examples.
---@param paths table<string, table>    the document's
---@param routes table[]                of route.list()
function M.operations(paths, routes)
  local served = {}
  for _, route in ipairs(routes) do served[route.method .. " " .. route.path] = route end
  for path, item in pairs(paths) do
    local tag = tag_of(path)
    for method, op in pairs(item) do
      if op.operationId then
        op.tags = list { tag.name }
        local need = needs(served[method:upper() .. " " .. path], path)
        local section = method == "get" and tag.read or tag.section
        op.description = ("%s Described in doc/http.md#%s."):format(need, section):gsub("^ ", "")
        for media_type, example in pairs(EXAMPLES[op.operationId] or {}) do
          op.requestBody.content[media_type].example = example
        end
      end
    end
  end
end

return M
