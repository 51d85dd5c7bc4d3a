--- A require of its own for each draft of the configuration.
---
--- Every module of scripts/ and every rock in Lua is loaded anew with each draft, so that a reload
--- takes up what has changed on disk, a failed one leaves no trace, and module-level state *is* the
--- draft's state. Requests in flight hold the modules that they began with. Shared by all drafts
--- are only what C made (lignum.core, libraries), modules in C, and what the long-running duties know.
local M = {}

local SHARED = { ["lignum.election"] = true, ["lignum.roster"] = true }

local function copy(t)
  local c = {}
  for k, v in pairs(t) do c[k] = v end
  return c
end

-- The globals of a draft: libraries are copied, so that a script that changes one changes only its
-- own.
local function globals()
  local g = copy(_G)
  for name, value in pairs(g) do
    if type(value) == "table" then g[name] = copy(value) end
  end
  g._G = g
  return g
end

---The text of a file.
---@param path string
---@return string? text
---@return string? problem
function M.read_file(path)
  local file, problem = io.open(path, "rb")
  if not file then return nil, problem end
  local text = file:read("a")
  file:close()
  return text
end

---A file as a function.
---@param path string
---@param env table
---@return function? chunk
---@return string? problem
function M.load_file(path, env)
  local text, problem = M.read_file(path)
  if not text then return nil, problem end
  return load(text, "@" .. path, "t", env)
end

---A fresh set of globals with a require that keeps to itself.
---@return table globals
function M.new()
  local g, loaded, loading = globals(), {}, {}

  local function load_module(name)
    if SHARED[name] then return require(name) end
    local path = package.searchpath(name, package.path)
    if not path then return require(name) end            -- in C, or not there: the real one says so
    local chunk, problem = M.load_file(path, g)
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
