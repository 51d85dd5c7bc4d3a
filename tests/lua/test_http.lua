local check = require "check"
local http = require "lignum.http"
local core = require "lignum.core"
local json = require("lignum.core").json
local null = json.null
local function test(name, fn) check.test(print, name, fn) end

local TYPES = { "application/json", "application/x-ndjson", "text/event-stream" }

test("http_accept_is_negotiated_by_quality_and_particularity", function()
  for accept, want in pairs {
    ["*/*"] = "application/json", ["application/*"] = "application/json",
    ["text/event-stream"] = "text/event-stream", ["text/*;q=0.5, application/x-ndjson;q=0.4"] = "text/event-stream",
    ["application/json;q=0, */*;q=0.1"] = "application/x-ndjson", ["APPLICATION/JSON"] = "application/json",
    ["text/html, application/xhtml+xml, */*;q=0.8"] = "application/json", ["image/png"] = false,
    ["application/json;q=0"] = false, [", ,"] = false,
  } do
    local got = http.accepts(accept, TYPES)
    check.equal({ accept, got or false }, { accept, want })
  end
  check.equal(http.accepts(nil, TYPES), "application/json")
  check.equal(http.accepts("", TYPES), "application/json")
end)

test("http_bodies_are_what_the_table_says", function()
  local cases = 0
  for line in assert(core.read_file(check.root .. "/tests/cases/body.tsv")):gmatch("([^\n]+)\n") do
    local kind, coding, result = line:match("^([^#\t][^\t]*)\t([^\t]+)\t(%a+)$")
    if kind then
      local media = http.media_type(kind ~= "-" and kind or nil)
      local got = http.encoded(coding ~= "-" and coding or nil) and "coded" or media == "application/json" and "json"
      check.equal({ line, got or "other" }, { line, (result == "coded" or result == "json") and result or "other" })
      cases = cases + 1
    end
  end
  check.equal(cases > 25, true)
end)

test("http_shapes_name_the_field", function()
  local shape = { topic = "string", count = "integer?", any = "any?" }
  check.equal(http.check_shape({ topic = "x", count = 1.0, any = null }, shape), nil)
  check.has(http.check_shape({ topc = "x" }, shape), "did you mean topic?")
  check.has(http.check_shape({}, shape), "topic is missing")
  check.has(http.check_shape({ topic = null }, shape), "topic must be a string")
  check.has(http.check_shape({ topic = "x", count = 1.5 }, shape), "count must be a whole number")
  local tables = { object = "object?", list = "list?" }
  check.equal(http.check_shape(json.decode '{"object": {}, "list": []}', tables), nil)
  check.has(http.check_shape(json.decode '{"object": []}', tables), "object must be an object")
  check.has(http.check_shape(json.decode '{"list": {}}', tables), "list must be a list")
  check.has(http.check_shape({ list = null }, tables), "list must be a list")
end)

test("http_offsets_are_whole_and_exact", function()
  for _, bad in ipairs { -1, 1.5, "1", 1 << 53, null, true, {} } do
    local n, why = http.offset(bad, "from")
    check.equal(n, nil)
    check.has(why, "from must be a whole number")
  end
  check.equal(http.offset(3.0, "from"), 3)
  for _, bad in ipairs { "", "-1", "1e3", "0x10", "1.0", " 1", "99999999999999999999" } do
    check.equal((http.integer(bad, "limit", 1, 10)), nil)
  end
end)

test("http_fail_is_a_problem_of_the_table", function()
  local status, body, headers = http.fail("busy", nil, { limit = 5 })
  check.equal({ status, body.code, body.limit, body.retryable }, { 503, "busy", 5, true })
  check.equal({ headers["Content-Type"], headers["Retry-After"] }, { "application/problem+json", "1" })
  check.raises("no error code", http.fail, "nonsense")
end)

test("near_names_are_found_and_far_ones_are_not", function()
  local near = require "lignum.near"
  local names = { "messages", "bytes", "age" }
  check.equal(near.find("mesages", names), "messages")
  check.equal(near.find("msesages", names), "messages")
  check.equal(near.find("BYTES", names), "bytes")
  check.equal(near.find("quite different", names), nil)
  check.equal(near.find("xyz", names), nil)
end)
