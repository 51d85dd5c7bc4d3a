--- Shared by routes: errors, query parameters, JSON bodies, media types.
local core = require "lignum.core"
local near = require "lignum.near"

local errors = core.errors
local json = core.json
local byte = string.byte
local BRACE <const> = byte("{")

local M = {}

local limits = core.limits

---The Content-Type of a body that is already JSON text.
M.JSON = "application/json"

---A text that JSON can carry: a detail or an error may quote bytes that are not UTF-8.
---@param text string
---@return string
function M.printable(text)
  if type(text) ~= "string" or utf8.len(text) then return text end
  return (text:gsub("[\x80-\xff]", function(c) return ("\\x%02x"):format(c:byte()) end))
end

---An error as application/problem+json.
---@param code string
---@param detail? string
---@param more? table
---@return integer status
---@return table body
---@return table headers
function M.fail(code, detail, more)
  local e = errors[code] or more and more.status and errors.rejected
  if not e then error("http.fail: there is no error code " .. tostring(code), 2) end
  local status = more and more.status or e.status
  local retryable = e.retryable or status == 429 or status == 503
  local body = {
    type = "about:blank", title = e.sentence, status = status,
    code = code, detail = M.printable(detail or e.sentence), retryable = retryable,
  }
  for name, value in pairs(more or {}) do body[name] = value end
  local headers = { ["Content-Type"] = "application/problem+json", ["X-Content-Type-Options"] = "nosniff" }
  if code == "unauthorized" then headers["WWW-Authenticate"] = 'Bearer realm="lignum"' end
  if status == 429 or status == 503 then headers["Retry-After"] = "1" end
  return status, body, headers
end

-- Query parameters -----------------------------------------------------------------------------

-- The name of a parameter that the query has twice; req.query keeps the last of its values.
local function given_twice(req)
  local seen = {}
  for pair in (req.target:match("%?(.*)") or ""):gmatch("[^&]+") do
    local name = pair:match("^[^=]*"):gsub("+", " ")
    name = name:gsub("%%(%x%x)", function(x) return string.char(tonumber(x, 16)) end)
    if seen[name] then return name end
    seen[name] = true
  end
end

-- EventSource cannot set headers, so the secret of an access token may be in the query of an event stream.
local function is_secret(req, name)
  return name == "access_token" and (req:header("accept") or ""):find("^text/event%-stream") ~= nil
end

---The query, or an error when it has a parameter that is not in `names`, or one twice: ignoring either would silently
---return something else.
---@param req lignum.Request
---@param names table<string, any>
---@return table<string, string>? query
---@return string? problem
---@return string? code
function M.query(req, names, prefix)
  local query = req.query
  for name in pairs(query) do
    local prefixed = prefix and #name > #prefix and name:sub(1, #prefix) == prefix
    if names[name] == nil and not prefixed and not is_secret(req, name) then
      return nil, ("there is no query parameter %q%s"):format(name, near.hint(name, near.names(names))), "bad_value"
    end
  end
  local twice = given_twice(req)
  if twice then return nil, ("the query parameter %q is given twice"):format(twice), "bad_value" end
  return query
end

local function range_problem(name, min, max, value)
  return nil, ("%s must be a whole number from %d to %d, not %s"):format(name, min, max, value), "bad_value"
end

---Parses a decimal number.
---@param text string?
---@param name string   of the parameter, for the error
---@param min integer
---@param max integer
---@return integer? value   nil without a problem when text is nil
---@return string? problem
---@return string? code
function M.integer(text, name, min, max)
  if text == nil then return nil end
  local n = text:find("^%d+$") and #text <= limits.offset_digits_max and math.tointeger(tonumber(text))
  if not n or n < min or n > max then return range_problem(name, min, max, text) end
  return n
end

---Parses a flag: "1" and "true" are true; "0", "false" and nil are false.
---@param text string?
---@param name string
---@return boolean? value
---@return string? problem
---@return string? code
function M.flag(text, name)
  if text == nil or text == "0" or text == "false" then return false end
  if text == "1" or text == "true" then return true end
  return nil, ("%s must be 1 or 0, not %s"):format(name, text == "" and "empty" or text), "bad_value"
end

---Checks an offset that a JSON body gives as a number.
---@param value any
---@param name string
---@return integer? offset
---@return string? problem
---@return string? code
function M.offset(value, name)
  local n = math.type(value) and math.tointeger(value)
  if not n or n < 0 or n > limits.json_integer_max then
    local shown = type(value) == "string" and '"' .. value .. '"' or tostring(value)
    return range_problem(name, 0, limits.json_integer_max, shown)
  end
  return n
end

-- JSON bodies ----------------------------------------------------------------------------------

local function type_ok(value, kind)
  if kind == "any" then return true end
  if value == json.null then return false end
  if kind == "integer" then return math.type(value) ~= nil and math.tointeger(value) ~= nil end
  if kind == "object" then return type(value) == "table" and not json.is_array(value) end
  if kind == "list" then return json.is_array(value) end
  return type(value) == kind
end

local NOUNS = {
  string = "a string", integer = "a whole number", number = "a number", boolean = "true or false",
  object = "an object", list = "a list", table = "an object or a list",
}

-- [shape] = its fields. Large bodies are lists of objects of one shape, and each request has one, so they are kept.
local fields = setmetatable({}, {
  __mode = "k",
  __index = function(all, shape)
    local list = {}
    for i, name in ipairs(near.names(shape)) do
      local kind, optional = shape[name]:match("^(.-)(%??)$")
      list[i] = { name = name, kind = kind, required = optional == "" }
    end
    all[shape] = list
    return list
  end,
})

---Checks an object's fields against a shape, as Request:json (api.lua) describes it.
---@param object table
---@param shape table<string, string>
---@return string? problem
function M.check_shape(object, shape)
  for name in pairs(object) do
    if shape[name] == nil then
      return ("there is no field %s%s"):format(tostring(name), near.hint(name, near.names(shape)))
    end
  end
  local list = fields[shape]
  for i = 1, #list do
    local field = list[i]
    local value = object[field.name]
    if value == nil then
      if field.required then
        return ("%s is missing: it must be %s"):format(field.name, NOUNS[field.kind] or "given")
      end
    elseif not type_ok(value, field.kind) then
      return ("%s must be %s"):format(field.name, NOUNS[field.kind])
    end
  end
end

---Decodes a body that must be a JSON object.
---@param text string
---@param shape? table<string, string>
---@return table? value
---@return string? problem
---@return string? code
---@return { limit: integer }? more   with too_large
function M.decode_object(text, shape)
  local plain = byte(text) == BRACE
  if not plain and not text:find("%S") then return nil, "the body is empty; it must be a JSON object", "bad_json" end
  local value, why, code, more = json.decode(text, limits.json_object_values_max)
  if why then return nil, why, code, more end
  if type(value) ~= "table" or not plain and not text:find("^%s*{") then
    return nil, "the body must be a JSON object", "bad_json"
  end
  local problem = shape and M.check_shape(value, shape)
  if problem then return nil, problem, "bad_value" end
  return value
end

-- Media types ----------------------------------------------------------------------------------

-- [Content-Type] = media type. Clients send few different ones, but one with every request.
local media_types, media_type_count = {}, 0
local MEDIA_TYPES_MAX <const> = 64

---The media type in a Content-Type: without parameters, in lower case.
---@param text string?
---@return string?
function M.media_type(text)
  local found = media_types[text]
  if found or not text then return found end
  found = text:match("^%s*([^%s;]*)"):lower()
  if media_type_count < MEDIA_TYPES_MAX then
    media_types[text], media_type_count = found, media_type_count + 1
  end
  return found
end

---An error when a body has a content coding, such as gzip.
---@param coding string?   the request's Content-Encoding, a list
---@return string? problem
function M.encoded(coding)
  for name in (coding or ""):lower():gmatch("[^,]+") do
    if name:find("%S") and not name:find("^%s*identity%s*$") then
      return ("Content-Encoding %s is not supported; send the body without one"):format(coding)
    end
  end
end

-- The quality that an Accept header gives a media type; its most specific range decides.
local function quality(accept, wanted)
  local best, rank = 0, 0
  local family = wanted:match("^[^/]+")
  for range in accept:lower():gmatch("[^,]+") do
    local name, rest = range:match("^%s*([^%s;]*)%s*(.*)$")
    local specific = name == wanted and 3 or name == family .. "/*" and 2 or name == "*/*" and 1 or 0
    if specific > rank then
      rank = specific
      best = tonumber(rest:match(";%s*q%s*=%s*([%d.]+)") or 1) or 0
    end
  end
  return best
end

local function preferred(accept, types)
  local best, most = nil, 0
  for _, candidate in ipairs(types) do
    local q = quality(accept, candidate)
    if q > most then best, most = candidate, q end
  end
  return best
end

-- [types][accept] = the preferred type, or false. Few different ones are sent, but one with every request.
local preferences, preference_count = setmetatable({}, { __mode = "k" }), 0
local PREFERENCES_MAX <const> = 64

---The one of these media types that a client prefers; of equal ones the first.
---@param accept string?   the request's Accept
---@param types string[]
---@return string? type   nil: it accepts none of them
function M.accepts(accept, types)
  if not accept or accept == "" or accept == "*/*" then return types[1] end
  local known = preferences[types]
  local best = known and known[accept]
  if best ~= nil then return best or nil end
  best = preferred(accept, types)
  if preference_count < PREFERENCES_MAX then
    preferences[types] = known or {}
    preferences[types][accept], preference_count = best or false, preference_count + 1
  end
  return best
end

return M
