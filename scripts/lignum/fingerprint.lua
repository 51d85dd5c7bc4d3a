--- What the nodes of a cluster should have in common in their configurations, as a short text that they compare.
---
--- It follows from the words of lignum.lua, and of the files that it includes or requires from its folder, and from
--- what they set for topics and the cluster. Comments and blanks count for nothing, and neither does what the verbs are
--- given that say what one machine is: nodes of a cluster differ there by nature. Values that come from elsewhere
--- (os.getenv, node.hostname) are not looked at, but where they set a topic.
local core = require "lignum.core"

local M = {}

-- Their arguments are a node's own.
local OWN <const> = {
  listen = true, node = true, store = true, limits = true, log = true, console = true, cluster = true,
}
-- But these are the cluster's.
local SHARED <const> = {
  "access", "cors", "durable_streams", "cluster.lag_max", "cluster.lease", "cluster.sync_interval",
  "cluster.consul.key", "cluster.consul.ttl", "cluster.consul.check_interval", "cluster.consul.check_timeout",
  "cluster.consul.check_failures",
}
local OPENS <const>, CLOSES <const> = { ["("] = true, ["{"] = true }, { [")"] = true, ["}"] = true }

-- Where a long string or comment ends that may begin at `at`; nil: none does.
local function long_end(text, at)
  local level = text:match("^%[(=*)%[", at)
  if not level then return nil end
  local _, last = text:find("]" .. level .. "]", at, true)
  return (last or #text) + 1
end

local function string_end(text, at)
  local quote = text:sub(at, at)
  at = at + 1
  while at <= #text do
    local c = text:sub(at, at)
    if c == quote then return at + 1 end
    at = c == "\\" and at + 2 or text:match('^[^"\'\\]*()', at + 1)
  end
  return #text + 1
end

-- The words of a text in Lua, without comments and blanks.
local function words_of(text)
  local words, at, n = {}, 1, 0
  while true do
    local word, after
    at, word, after = text:match("^%s*()([%w_]*)()", at)
    if at > #text then return words end
    local c = word == "" and text:sub(at, at)
    if c == "-" and text:find("^%-%-", at) then
      after = long_end(text, at + 2) or text:match("^[^\n]*()", at)
    else
      if c == "[" then after = long_end(text, at) or at + 1
      elseif c == '"' or c == "'" then after = string_end(text, at)
      elseif c then after = at + 1
      end
      n = n + 1
      words[n] = text:sub(at, after - 1)
    end
    at = after
  end
end

-- The index after the argument of a verb at `at`, or nil: it is used for something else, such as node.hostname().
local function after_argument(words, at)
  local depth, before = 0, words[at - 1]
  if before == "." or before == ":" then return nil end
  at = at + 1
  if words[at] and words[at]:find("^[\"'%[]") and #words[at] > 1 then return at + 1 end
  if not OPENS[words[at]] then return nil end
  repeat
    if OPENS[words[at]] then depth = depth + 1 elseif CLOSES[words[at]] then depth = depth - 1 end
    at = at + 1
  until depth == 0 or at > #words
  return at
end

local function add_text(list, text)
  local words, at = words_of(text), 1
  while at <= #words do
    local after = OWN[words[at]] and after_argument(words, at)
    if not after then list[#list + 1] = words[at] end
    at = after or at + 1
  end
end

-- Equal values have equal texts. A function is known by the words that define it.
local function add_value(list, value)
  if type(value) ~= "table" then
    list[#list + 1] = type(value) == "function" and "function" or tostring(value)
    return
  end
  local names = {}
  for name in pairs(value) do names[#names + 1] = name end
  table.sort(names, function(a, b) return tostring(a) < tostring(b) end)
  list[#list + 1] = "{"
  for _, name in ipairs(names) do
    list[#list + 1] = tostring(name)
    add_value(list, value[name])
  end
  list[#list + 1] = "}"
end

---The fingerprint of what was loaded. The secret of the cluster goes into it, so that nobody who reads it can try what
---other secrets the files hold.
---@param texts string[]       lignum.lua and the files that belong to it, in the order in which they were loaded
---@param config table       module lignum.config of the draft
---@return string              8 hexadecimal digits
function M.of(texts, config)
  local list = { config.get("cluster.replication.secret") or "" }
  for _, text in ipairs(texts) do add_text(list, text) end
  for _, path in ipairs(SHARED) do add_value(list, config.get(path)) end
  for _, rule in ipairs(config.rules) do
    add_value(list, rule.pattern)
    add_value(list, rule.settings)
  end
  add_value(list, config.tokens)
  return ("%08x"):format(core.crc32c(table.concat(list, "\0")))
end

return M
