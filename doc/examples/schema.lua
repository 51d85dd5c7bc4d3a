-- Messages of `orders` must be JSON of this shape. The answer names the field that is wrong.
local SHAPE <const> = { id = "integer", customer = "string", items = "list", express = "boolean?" }

local IS <const> = {
  integer = function(v) return math.type(v) == "integer" end,
  string = function(v) return type(v) == "string" end,
  boolean = function(v) return type(v) == "boolean" end,
  list = function(v) return type(v) == "table" and json.is_array(v) and #v > 0 end,
}

local function wrong(field, why)
  return reject(field .. " " .. why, { status = 422, code = "invalid_order", fields = { field = field } })
end

function on_publish(msg)
  if msg.topic ~= "orders" then return end
  local order = json.decode(msg.payload)
  if type(order) ~= "table" then return wrong("payload", "must be an object of JSON") end
  for field, kind in pairs(SHAPE) do
    local name, optional = kind:match("^(%a+)(%??)$")
    local value = order[field]
    if value == nil and optional == "" then return wrong(field, "is missing") end
    if value ~= nil and not IS[name](value) then return wrong(field, "must be a " .. name) end
  end
  for field in pairs(order) do
    if not SHAPE[field] then return wrong(field, "is not known") end
  end
end
