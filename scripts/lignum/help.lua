--- Reads api.lua, and renders it for help(), the console's completion and doc/api.md.
local near = require "lignum.near"

local M = {}

---@class lignum.Entry
---@field name string       "topic", "Topic:append", "json.encode"; for a class "Topic"
---@field kind "function"|"class"
---@field owner string      "Topic", "json", or "" for globals
---@field signature string
---@field text string       the description
---@field also string[]     other signatures with the same description
---@field fields string[]   of a class
---@field params string[]
---@field returns string[]
---@field waits string?
---@field where string?
---@field errors string?
---@field example string?

local LISTS = { param = "params", ["return"] = "returns", field = "fields" }

-- Adds one comment line to an entry.
local function take_comment(entry, line)
  local tag, rest = line:match("^%-%-%-@(%w+)%s*(.*)$")
  if not tag then
    local sentence = line:match("^%-%-%-%s*(.*)$")
    entry.text = entry.text == "" and sentence or entry.text .. " " .. sentence
  elseif tag == "class" then
    entry.class = rest:match("^lignum%.(%w+)")
  elseif LISTS[tag] then
    table.insert(entry[LISTS[tag]], rest)
  else
    entry[tag] = rest
  end
end

---Parses the text of api.lua. A block of comments belongs to the function in the next line, or is a class; a function
---without a block shares the description of the function before it.
---@param text string
---@return lignum.Entry[]
function M.parse(text)
  local entries, entry = {}, nil
  for line in text:gmatch("([^\n]*)\n") do
    local signature = line:match("^function ([%w_.:]+%b()) end")
    if line:find("^%-%-%-") then
      entry = entry or { text = "", also = {}, fields = {}, params = {}, returns = {} }
      take_comment(entry, line)
    elseif signature and entry then
      local name = signature:match("^[%w_.:]+")
      entry.kind, entry.name, entry.signature = "function", name, signature
      entry.owner = name:match("^(.-)[.:]") or ""
      entries[#entries + 1] = entry
      entry = nil
    elseif signature then
      table.insert(entries[#entries].also, signature)
    else
      if entry and entry.class then
        entry.kind, entry.name, entry.owner, entry.signature = "class", entry.class, entry.class, entry.class
        entries[#entries + 1] = entry
      end
      entry = nil
    end
  end
  return entries
end

local cached

---All entries of api.lua.
---@return lignum.Entry[]
function M.entries()
  if not cached then
    local path = assert(package.searchpath("lignum.api", package.path))
    local file <close> = assert(io.open(path, "rb"))
    cached = M.parse(file:read("a"))
  end
  return cached
end

---The entries with that name, which is whole ("json.encode", "Topic:append") or its last part ("append").
---@param name string
---@return lignum.Entry[]
function M.find(name)
  local found = {}
  for _, e in ipairs(M.entries()) do
    if e.name == name or e.name:match("[.:]([%w_]+)$") == name then found[#found + 1] = e end
    for _, signature in ipairs(e.also) do
      if signature:match("^[%w_.:]+") == name then found[#found + 1] = e end
    end
  end
  return found
end

-- As text --------------------------------------------------------------------------------------

local function add_list(lines, title, list)
  for i, item in ipairs(list) do
    lines[#lines + 1] = ("  %-8s %s"):format(i == 1 and title or "", item)
  end
end

local function wrap(text, indent)
  local lines, line = {}, indent
  for word in text:gmatch("%S+") do
    if #line + #word > 96 and line ~= indent then
      lines[#lines + 1] = line
      line = indent
    end
    line = line == indent and indent .. word or line .. " " .. word
  end
  if line ~= indent then lines[#lines + 1] = line end
  return table.concat(lines, "\n")
end

---One entry for the console.
---@param e lignum.Entry
---@return string
function M.describe(e)
  local lines = { e.signature }
  for _, signature in ipairs(e.also) do lines[#lines + 1] = signature end
  if e.text ~= "" then lines[#lines + 1] = wrap(e.text, "  ") end
  add_list(lines, "waits", { e.waits })
  add_list(lines, "where", { e.where })
  add_list(lines, "takes", e.params)
  add_list(lines, "fields", e.fields)
  add_list(lines, "returns", e.returns)
  add_list(lines, "errors", { e.errors })
  add_list(lines, "example", { e.example })
  return table.concat(lines, "\n")
end

local function names_by_owner()
  local owners, names = {}, {}
  for _, e in ipairs(M.entries()) do
    if e.kind == "function" and e.owner ~= "core" and e.where ~= "scripts/lignum" then
      if not names[e.owner] then
        owners[#owners + 1] = e.owner
        names[e.owner] = {}
      end
      table.insert(names[e.owner], e.name:match("[%w_]+$"))
      for _, also in ipairs(e.also) do table.insert(names[e.owner], also:match("([%w_]+)%(")) end
    end
  end
  table.sort(owners)
  return owners, names
end

---The overview for help(): all functions, by owner.
---@return string
function M.overview()
  local owners, names = names_by_owner()
  local lines = {}
  for _, owner in ipairs(owners) do
    local indent = ("  %-9s "):format(owner)
    local text = wrap(table.concat(names[owner], " "), "            ")
    lines[#lines + 1] = indent .. text:sub(#indent + 1)
  end
  lines[#lines + 1] = [[
  config    the live configuration, read-only; _ is the last result
  trace     trace("on_publish", 5) shows the next calls of a hook, and what they changed
  profile   profile(10) shows where the time of scripts goes, as folded stacks; profile(10, "x.svg") draws it
  :world    goes to lignum.lua's own world, with its hooks and upvalues(fn); :core comes back
help "append" or help(json.encode) describes a function, help "store.segment" describes keys of lignum.lua.]]
  return table.concat(lines, "\n")
end

-- Keys of lignum.lua ---------------------------------------------------------------------------

---@param k lignum.Key
---@return string
function M.default_text(k)
  if k.shown then return k.shown end
  if type(k.default) == "table" then return table.concat(k.default, ", ") end
  if k.kind == "bytes" and k.default >= 1 << 20 then return ("%d MiB"):format(k.default >> 20) end
  return tostring(k.default)
end

---Visits every key of a group with its path, in order.
---@param g table
---@param path string
---@param visit fun(path: string, k: lignum.Key)
function M.each_key(g, path, visit)
  if g.kind ~= "group" then return visit(path, g) end
  for _, name in ipairs(g.order) do
    M.each_key(g.fields[name], path == "" and name or path .. "." .. name, visit)
  end
end

---Describes the keys whose path is `name` or begins with it.
---@param name string
---@return string[] lines
function M.keys(name)
  local schema = require "lignum.schema"
  local lines = {}
  local function add(path, k)
    if path == name or path:sub(1, #name + 1) == name .. "." then
      lines[#lines + 1] = wrap(("%s (%s, default %s): %s"):format(path, k.kind, M.default_text(k), k.text), "  ")
    end
  end
  M.each_key(schema.keys, "", add)
  M.each_key(schema.topic, "topic", add)
  return lines
end

---Describes everything with a name: functions, classes, keys of lignum.lua.
---@param name string
---@return string
function M.on(name)
  local parts = {}
  for _, e in ipairs(M.find(name)) do parts[#parts + 1] = M.describe(e) end
  local keys = M.keys(name)
  if #keys > 0 then parts[#parts + 1] = "in lignum.lua\n" .. table.concat(keys, "\n") end
  if #parts > 0 then return table.concat(parts, "\n\n") end
  local names = {}
  for _, e in ipairs(M.entries()) do
    names[#names + 1] = e.name
    names[#names + 1] = e.name:match("[%w_]+$")
  end
  return ("nothing is named %s%s"):format(name, near.hint(name, names))
end

-- As Markdown ----------------------------------------------------------------------------------

local function add_items(out, title, items)
  if #items == 0 then return end
  out[#out + 1] = ("%s:\n"):format(title)
  for _, item in ipairs(items) do
    local head, rest = item:match("^(.-)%s%s+(.+)$")
    out[#out + 1] = rest and ("* `%s`: %s"):format(head, rest) or ("* `%s`"):format(item)
  end
  out[#out + 1] = ""
end

local function add_function(out, e)
  out[#out + 1] = ("### `%s`\n"):format(e.signature)
  for _, signature in ipairs(e.also) do out[#out + 1] = ("`%s`\n"):format(signature) end
  if e.text ~= "" then out[#out + 1] = e.text .. "\n" end
  local facts = { "Where: " .. (e.where or "anywhere") .. "." }
  if e.waits then facts[#facts + 1] = "Waits " .. e.waits .. "." end
  if e.errors then facts[#facts + 1] = "Errors: `" .. e.errors:gsub(" ", "`, `") .. "`." end
  out[#out + 1] = table.concat(facts, " ") .. "\n"
  add_items(out, "Takes", e.params)
  add_items(out, "Returns", e.returns)
  if e.example then out[#out + 1] = ("```lua\n%s\n```\n"):format(e.example) end
end

local function add_class(out, e)
  out[#out + 1] = ("## %s\n"):format(e.name)
  if e.text ~= "" then out[#out + 1] = e.text .. "\n" end
  add_items(out, "Fields", e.fields)
end

---The whole of doc/api.md.
---@param entries lignum.Entry[]
---@return string
function M.markdown(entries)
  local out = { [[
# The Lua interface

Generated from `scripts/lignum/api.lua` by `make doc`; edit that file. A function that fails returns
`nil, message, code`; [http.md](http.md) lists the codes. *Tasks* are request handlers, hooks, timers and console lines:
they may wait.

## Functions
]] }
  for _, e in ipairs(entries) do
    if e.owner == "" then add_function(out, e) end
  end
  local owners, seen = {}, { [""] = true }
  for _, e in ipairs(entries) do
    if not seen[e.owner] then
      seen[e.owner] = true
      owners[#owners + 1] = e.owner
    end
  end
  for _, owner in ipairs(owners) do
    for _, e in ipairs(entries) do
      if e.owner == owner and e.kind == "class" then add_class(out, e) end
    end
    for _, e in ipairs(entries) do
      if e.owner == owner and e.kind == "function" then add_function(out, e) end
    end
  end
  return table.concat(out, "\n")
end

return M
