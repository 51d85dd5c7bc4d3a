--- Copies of topics' files, for backup and restore: the files of a directory, checks of whole topics, and a record of
--- what was made, which a failure removes again.
local core = require "lignum.core"
local shell = require "lignum.shell"
local system = require "lignum.system"

local M = {}

M.MANIFEST = "backup.json"
M.END = math.maxinteger
local ENOENT <const> = 2

---Ends the command with 65 unless a list of topics has names that stay within a directory, and their offsets.
---@param topics any
---@param where string   that says so
function M.check_topics(topics, where)
  for _, t in ipairs(type(topics) == "table" and topics or {}) do
    local name = type(t) == "table" and type(t.name) == "string" and t.name or "?"
    if not name:find("^[%w_-][%w._-]*$") or math.type(t.first) ~= "integer" or math.type(t.next) ~= "integer" then
      shell.fail(65, "%s: a topic is not well formed: %s", where, name)
    end
  end
end

-- What was made ----------------------------------------------------------------------------------

local Tree = {}
Tree.__index = Tree

---A directory that is being made, with all that is in it.
---@param root string
function M.tree(root)
  return setmetatable({ root = root, made = {} }, Tree)
end

---Returns its other arguments; or, when the first of them is nil, ends the command with 74 and says `what` failed.
local function must(what, ok, ...)
  if not ok then shell.fail(74, "%s: %s", what, tostring((...))) end
  return ok, ...
end
M.must = must

function Tree:path(name) return self.root .. "/" .. name end

function Tree:note(name) self.made[#self.made + 1] = self:path(name) end

function Tree:mkdir(name)
  must(self:path(name), system.mkdir(self:path(name)))
  self:note(name)
end

---Writes a small file, and syncs it.
function Tree:write(name, text)
  local path = self:path(name)
  local file = must(path, core.unsafe.open(path, "wb"))
  self:note(name)
  must(path, file:write(text))
  must(path, file:close())
  must(path, system.sync(path))
end

---Makes all that was made durable.
function Tree:sync()
  local seen = {}
  for _, path in ipairs(self.made) do
    local folder = path:match("^(.*)/")
    if not seen[folder] then must(folder, system.sync(folder)) end
    seen[folder] = true
  end
  local parent = self.root:match("^(.*)/[^/]+$") or "."
  must(parent, system.sync(parent == "" and "/" or parent))
end

---Removes all that was made, the last first.
function Tree:remove()
  for i = #self.made, 1, -1 do core.unsafe.remove(self.made[i]) end
  if self.own then core.unsafe.remove(self.root) end
  self.made = {}
end

---Begins: the directory must be missing or empty.
function Tree:begin()
  local names, why, errno = system.list(self.root)
  if names and #names > 0 then shell.fail(73, "%s is not empty", self.root) end
  if names then return end
  if errno == ENOENT then self.own, why = system.mkdir(self.root) end
  if not self.own then shell.fail(73, "%s: %s", self.root, why) end
end

---Calls `act`; when it fails, nothing of the tree is left.
function Tree:within(act)
  local ok, problem = pcall(act)
  if ok then return end
  self:remove()
  if shell.is_failure(problem) and problem.message then
    problem.message = ("%s (what was copied to %s is removed)"):format(problem.message, self.root)
  end
  error(problem, 0)
end

-- Files of a topic -------------------------------------------------------------------------------

---The log files of a topic in their order, and its snapshots of senders: { name =, first =, kind =, path = }.
---@param folder string   its directory
---@param small? string   its file while it is small
---@return table[]? logs
---@return table[]|string senders   or why
function M.files(folder, small)
  if small and system.exists(small) then
    return { { name = ("%020d.qwal"):format(0), first = 0, kind = "qwal", path = small } }, {}
  end
  local names, why = system.list(folder)
  if not names then return nil, why end
  local logs, senders = {}, {}
  for _, name in ipairs(names) do
    local first, kind = name:match("^(%d+)%.(%a+)$")
    local list = (kind == "log" or kind == "qwal") and logs or kind == "senders" and senders
    if first and #first == 20 and list then
      list[#list + 1] =
        { name = name, first = math.tointeger(tonumber(first)), kind = kind, path = folder .. "/" .. name }
    end
  end
  table.sort(logs, function(a, b) return a.first < b.first end)
  return logs, senders
end

---Reads all of a topic's copy. Nil and a sentence, if it is not whole from `first` to `next`.
---@param progress fun(bytes: integer)
function M.check(folder, topic, progress)
  local logs, why = M.files(folder)
  if not logs then return nil, folder .. ": " .. why end
  local at = logs[1] and logs[1].first or topic.first
  if at > topic.first then return nil, ("%s: the messages before %d are missing"):format(folder, at) end
  for _, file in ipairs(logs) do
    if file.first ~= at then return nil, ("%s: the messages from %d on are missing"):format(folder, at) end
    local next_, problem, bytes = system.copy_log(file.path, file.first, M.END)
    if not next_ then return nil, problem end
    at = next_
    progress(bytes)
    shell.check_interrupt()
  end
  if at ~= topic.next then return nil, ("%s ends at %d, and not at %d"):format(folder, at, topic.next) end
  return true
end

return M
