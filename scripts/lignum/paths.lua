--- What to answer for a path without a route: the path without a trailing slash, or the nearest one.
local core = require "lignum.core"
local http = require "lignum.http"
local near = require "lignum.near"

local M = {}

local PREFIXES <const> = { "", "/v1", "/api" }      -- which newcomers leave out

local function segments_of(path)
  local list = {}
  for segment in path:gmatch("/([^/]*)") do list[#list + 1] = segment end
  return list
end

-- The path of a route that these segments may mean, and how many of them are misspelt; nil when one is nothing like it.
local function match(pattern, segments)
  if #pattern ~= #segments then return nil end
  local meant, wrong = {}, 0
  for i, literal in ipairs(pattern) do
    local given = segments[i]
    if literal:find("^{") then
      meant[i] = given:find("^[%w._-]+$") and given or literal     -- an answer echoes nothing else
    elseif literal ~= given then
      if not near.find(given, { literal }) then return nil end
      wrong = wrong + 1
    end
    meant[i] = meant[i] or literal
  end
  return "/" .. table.concat(meant, "/"), wrong
end

---The path that a misspelt one most probably means, among those of these routes.
---@param path string
---@param routes lignum.Route[]
---@return string?
function M.nearest(path, routes)
  local best, least = nil, math.huge
  for i, prefix in ipairs(PREFIXES) do
    local segments = segments_of(prefix .. path)
    for _, r in ipairs(routes) do
      local meant, wrong = match(segments_of(r.path), segments)
      wrong = wrong and wrong + i / 10
      if meant and wrong < least then best, least = meant, wrong end
    end
  end
  return best
end

---The answer to a request whose path has no route.
---@param req lignum.Request
---@param tree userdata
---@param routes lignum.Route[]
---@return integer status
---@return table? body
---@return table headers
function M.answer(req, tree, routes)
  local path, query = req.target:match("^([^?]*)(.*)$")
  local trimmed = path:match("^(.-)/+$")
  if trimmed and trimmed ~= "" then
    local found, allow = core.walk(tree, req.method, trimmed)
    if found or allow then return 308, nil, { Location = trimmed .. query } end
  end
  local meant = #path <= 1000 and M.nearest(trimmed or path, routes)
  return http.fail("not_found", "there is no such path; " .. (meant and ("did you mean %s?"):format(meant)
    or "GET /v1 lists all"))
end

return M
