-- What tests/system/test_clients.py runs in nginx: one way through rocks/lignum_client.lua, and both sides of a wait.
local json = require "dkjson"
local lignum = require "lignum_client"

local given = ngx.req.get_uri_args()
local log = lignum.connect(given.url, { timeout = 20, server_name = given.name })
local parts = {}

function parts.all()
  local shop = log:producer("t", "shop", 1)
  assert(shop:publish { "one", { payload = "\0\255", key = "\254", headers = { h = "v" } } })
  assert(shop:publish("three"))
  local found = {}
  for m in log:follow("t") do
    local key = m.key and ngx.encode_base64(m.key) or ""
    found[#found + 1] = { m.offset, ngx.encode_base64(m.payload), key, m.headers.h }
    if #found == 3 then break end
  end
  local group = log:group("t", "g")
  assert(group:create { from = "earliest" })
  local done = 0
  assert(group:work(function() done = done + 1 end, { limit = 2, stop = function() return done == 3 end }))
  local _, _, code = log:read "none"
  return { found = found, lag = group:info().lag, code = code }
end

function parts.wait()
  local list = assert(log:read("w", { from = 0, wait = 60 }))
  return { payload = list[1].payload }
end

function parts.publish()
  return assert(log:publish("w", "at last"))
end

ngx.say(json.encode(parts[given.part]()))
