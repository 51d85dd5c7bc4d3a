--- A separate `require` for each draft of the configuration.
---
--- Every module of scripts/ and every rock in Lua is loaded again for each draft, so module-level variables belong to
--- one draft. All drafts of a world share what C has made (lignum.core, the libraries), modules in C, and those in
--- SHARED, which belong to the duties of the core's world or to the whole world.
local core = require "lignum.core"

local M = {}

local SHARED = { ["lignum.election"] = true, ["lignum.leader"] = true, ["lignum.roster"] = true }

---A shallow copy of a table.
---@param t table
---@return table
function M.copy(t)
  local c = {}
  for k, v in pairs(t) do c[k] = v end
  return c
end

-- The globals of a draft. Libraries are copied, so a script that changes one changes only its own copy.
local function globals()
  local g = M.copy(_G)
  for name, value in pairs(g) do
    if type(value) == "table" then g[name] = M.copy(value) end
  end
  g._G = g
  return g
end

---A file as a function. A byte order mark and a first line that begins with # are skipped.
---@param path string
---@param env table
---@param texts? string[]   to which its text is added
---@return function? chunk
---@return string? problem
function M.load_file(path, env, texts)
  local text, problem = core.read_file(path)
  if not text then return nil, problem end
  if texts then texts[#texts + 1] = text end
  return load(text:gsub("^\xEF\xBB\xBF", ""):gsub("^#[^\n]*", ""), "@" .. path, "t", env)
end

---New globals, with a `require` that loads modules into them.
---@return table globals
function M.new()
  local g, loaded, loading = globals(), {}, {}

  local function load_module(name)
    if SHARED[name] then return require(name) end
    local path = package.searchpath(name, package.path)
    if not path then return require(name) end    -- a module in C, or none: then Lua's own require raises the error
    local chunk, problem = core.load_script(path, g)
    if not chunk then error(problem, 0) end
    loading[name] = true
    local value = chunk(name, path)
    loading[name] = nil
    return value == nil and true or value
  end

  function g.require(name)
    if loaded[name] == nil then
      if g[name] ~= nil and package.loaded[name] == _G[name] then return g[name] end
      if loading[name] then error(("module %s requires itself"):format(name), 2) end
      loaded[name] = load_module(name)
    end
    return loaded[name]
  end

  return g
end

return M
