--- A world in which the tests of lignum.lua run (core/test.h): that of init.lua, and what a file of tests sees besides
--- what lignum.lua sees. Each test runs in a process of its own, where nothing of another one is left.
local core = require "lignum.core"
local diff = require "lignum.diff"
local init = require "lignum.init"
local modules = require "lignum.modules"
local pretty = require "lignum.pretty"

local json, real_fetch = core.json, core.fetch

local M = modules.copy(init)

local SHOWN <const> = 12              -- differences in a message
local FETCHES_MAX <const> = 10000     -- that are kept
local DAY <const> = 86400

local file                            ---@type string
local world                           ---@type lignum.World
local cases, before = {}, {}          -- { name =, line =, fn = }; functions that run first
local address                         ---@type string   of this node
local fetched, unanswered = {}, {}
local answers = {}                    ---@type { method: string?, pattern: string, value: any }[]

-- The text of a value in a message, on one line.
local function shown(value)
  local text = pretty.format(value):gsub("\n%s*", " ")
  return #text <= 200 and text or text:sub(1, 197) .. "..."
end

-- Declaring -------------------------------------------------------------------------------------------

local function test(name, fn)
  if type(name) ~= "string" or type(fn) ~= "function" then error("test(name, fn): a text and a function", 2) end
  for _, other in ipairs(cases) do
    if other.name == name then error(("test %q is already declared, in line %d"):format(name, other.line), 2) end
  end
  cases[#cases + 1] = { name = name, fn = fn, line = math.tointeger(tonumber(core.caller(2):match(":(%d+)$"))) or 0 }
end

local function before_each(fn)
  if type(fn) ~= "function" then error("before(fn): a function", 2) end
  before[#before + 1] = fn
end

-- Asserting -------------------------------------------------------------------------------------------

local asserts = {}

---Two values are equal: tables by what they hold.
function asserts.equal(got, want)
  local differences = diff.values(want, got)
  if #differences == 0 then return end
  if differences[1].path == "" then error(("got %s, want %s"):format(shown(got), shown(want)), 2) end
  local lines = { ("not equal, in %d places:"):format(#differences) }
  for i, d in ipairs(differences) do
    if i > SHOWN then break end
    lines[#lines + 1] = ("  %s: got %s, want %s"):format(d.path, shown(d.new), shown(d.old))
  end
  error(table.concat(lines, "\n"), 2)
end

---Two values are not equal.
function asserts.differ(got, other)
  if #diff.values(other, got) == 0 then error(("both are %s"):format(shown(got)), 2) end
end

---A text contains words.
function asserts.has(text, words)
  if not tostring(text):find(words, 1, true) then error(("%s is not in %s"):format(shown(words), shown(text)), 2) end
end

---A function raises an error that contains words.
function asserts.raises(words, fn, ...)
  local ok, why = pcall(fn, ...)
  if ok then error(("no error was raised; expected: %s"):format(words), 2) end
  if not tostring(why):find(words, 1, true) then
    error(("%s is not in the error %s"):format(shown(words), shown(tostring(why))), 2)
  end
end

---An answer has this status.
function asserts.status(answer, status)
  if type(answer) ~= "table" or answer.status ~= status then
    local got = type(answer) == "table" and ("%s: %s"):format(answer.status, shown(answer.body)) or shown(answer)
    error(("got %s, want status %s"):format(got, status), 2)
  end
end

setmetatable(asserts, {
  __call = function(_, value, message, code, ...)
    if value then return value, message, code, ... end
    if message ~= nil and type(message) ~= "string" then error(message, 0) end
    local kind = type(code) == "string" and (" (%s)"):format(code) or ""
    error((message or ("it is %s"):format(tostring(value))) .. kind, 2)
  end,
})

-- Requests --------------------------------------------------------------------------------------------

-- The body and the headers of a request or an answer, of which the body may be a table.
local function encoded(body, headers)
  headers = headers and modules.copy(headers) or {}
  if type(body) ~= "table" then return body, headers end
  local typed = false
  for name in pairs(headers) do typed = typed or name:lower() == "content-type" end
  if not typed then headers["Content-Type"] = "application/json" end
  return json.encode(body), headers
end

local OPTIONS <const> = { body = true, headers = true, timeout = true }

---A request to this node, as a client sends it.
---@param method string
---@param path string       "/v1/topics/orders/messages?..."
---@param options? string|table   the body; or { body =, headers =, timeout = }
---@return { status: integer, headers: table<string, string>, body: string, json: any }
local function request(method, path, options)
  if type(method) ~= "string" or type(path) ~= "string" or path:sub(1, 1) ~= "/" then
    error('request(method, path [, options]): such as request("GET", "/v1/topics")', 2)
  end
  if type(options) == "string" then options = { body = options } end
  for name in pairs(options or {}) do
    if not OPTIONS[name] then
      error(("request: there is no option %s; a table as body is { body = {...} }"):format(name), 2)
    end
  end
  options = options or {}
  local body, headers = encoded(options.body, options.headers)
  local answer, why = real_fetch {
    method = method, url = "http://" .. address .. path, body = body, headers = headers,
    timeout = options.timeout or DAY,
  }
  if not answer then error(("%s %s: %s"):format(method, path, why), 2) end
  if (answer.headers["content-type"] or ""):find("json", 1, true) then
    local ok, value = pcall(json.decode, answer.body)
    answer.json = ok and value or nil
  end
  return answer
end

-- The world outside -----------------------------------------------------------------------------------

-- "GET https://host/path", without a method for any; `*` is any text.
local function add_answer(key, value)
  if type(key) ~= "string" then error("fetch_answers { [url] = answer }: the key must be a text", 3) end
  local method, url = key:match("^(%u+) +(.+)$")
  local pattern = "^" .. (url or key):gsub("[%^%$%(%)%%%.%[%]%+%-%?]", "%%%0"):gsub("%*", ".*") .. "$"
  table.insert(answers, 1, { method = method, pattern = pattern, value = value })
end

---What fetch answers, in place of servers elsewhere. Later ones win.
---@param list table<string, string|table|function>   a body; { status =, headers =, body = }; a function of the request
local function fetch_answers(list)
  if type(list) ~= "table" then error("fetch_answers { [url] = answer }: needs a table", 2) end
  for key, value in pairs(list) do add_answer(key, value) end
end

local function answer_of(value, asked)
  if type(value) == "function" then
    local answer, why, code = value(asked)
    if answer == nil then return nil, why or "the test's answer is nothing", code or "fetch_failed" end
    value = answer
  end
  if type(value) ~= "table" then value = { body = tostring(value) } end
  local body, given = encoded(value.body, value.headers)
  local headers = {}
  for name, text in pairs(given) do headers[name:lower()] = text end
  return { status = value.status or 200, headers = headers, body = body or "" }
end

local function fake_fetch(asked)
  if type(asked) ~= "table" or type(asked.url) ~= "string" then return real_fetch(asked) end    -- which complains
  local method = asked.method or asked.body and "POST" or "GET"
  if #fetched < FETCHES_MAX then
    local copy = modules.copy(asked)
    copy.method = method
    fetched[#fetched + 1] = copy
  end
  for _, answer in ipairs(answers) do
    if (not answer.method or answer.method == method) and asked.url:find(answer.pattern) then
      return answer_of(answer.value, asked)
    end
  end
  unanswered[#unanswered + 1] = ("%s %s"):format(method, asked.url)
  return nil, ("the test has no answer for %s %s"):format(method, asked.url), "fetch_failed"
end

-- The clock -------------------------------------------------------------------------------------------

---Lets time pass: what is due meanwhile happens.
---@param seconds number
local function advance(seconds)
  if type(seconds) ~= "number" or not (seconds >= 0 and seconds < math.huge) then
    error("advance(seconds): seconds must be a number from 0 on", 2)
  end
  while seconds > DAY do
    core.sleep(DAY)
    seconds = seconds - DAY
  end
  core.sleep(seconds)
end

---Lets time pass until then.
---@param time number|string   seconds since 1970, or "2026-03-01T00:00:00Z"
local function advance_to(time)
  if type(time) == "string" then
    local at, why = core.time.parse(time)
    if not at then error("advance_to: " .. why, 2) end
    time = at
  end
  if type(time) ~= "number" or time < core.now() then
    error(("advance_to: it is %s already"):format(core.time.format(core.now())), 2)
  end
  advance(time - core.now())
end

-- For C -----------------------------------------------------------------------------------------------

---Loads lignum.lua and a file of tests. A test's node is alone, and nobody else reaches it.
---@param options { config?: string, tests: string, set?: string[] }
function M.load(options)
  options.apart = true
  world = init.load(options)
  local values = world.config.values
  values.listen, values.console, values.node.advertise = {}, { path = "" }, nil
  file = options.tests
  world.load_file(file, {
    test = test, before = before_each, assert = asserts, request = request, fetch_answers = fetch_answers,
    fetched = function() return fetched end, advance = advance, advance_to = advance_to,
  })
end

---@return lignum.Description
function M.describe()
  local description = init.describe()
  description.tested = true
  return description
end

---@return integer count
function M.count()
  return #cases
end

---@param i integer
---@return string name
---@return integer line
function M.case(i)
  return cases[i].name, cases[i].line
end

-- What a test has left behind: the tasks that it has started itself, and those of lignum.lua.
local function left_behind()
  local own, others = {}, {}
  core.sleep(0)
  for _, task in ipairs(core.tasks.list()) do
    local list = task.where:find(file:sub(-40), 1, true) and own or others
    if task.where:find("^spawn at ") or task.where:find("^after ") then list[#list + 1] = task.where end
  end
  return own, others
end

local function sorted_lines(code)
  local list = {}
  for line in pairs(code) do list[#list + 1] = line end
  table.sort(list)
  return list
end

-- "3-5, 9" of the lines with code that are not in `hit`.
local function missed(list, hit)
  local ranges, first, last = {}, nil, nil
  local function close()
    if first then ranges[#ranges + 1] = first == last and tostring(first) or first .. "-" .. last end
    first = nil
  end
  for _, line in ipairs(list) do
    if hit[line] then close() else first, last = first or line, line end
  end
  close()
  return table.concat(ranges, ", ")
end

---Which lines of the files beside the tests have run.
---@param hits table<string, integer[]>   of all of them
---@return { path: string, text: string, lcov: string }[]
function M.coverage(hits)
  local reports = {}
  for path, code in pairs(world.lines) do
    local hit, ran, lcov, lines = {}, 0, { "SF:" .. path }, sorted_lines(code)
    for _, line in ipairs(hits[path] or {}) do hit[line] = true end
    local rest, count = missed(lines, hit), #lines
    for _, line in ipairs(lines) do
      ran = ran + (hit[line] and 1 or 0)
      lcov[#lcov + 1] = ("DA:%d,%d"):format(line, hit[line] and 1 or 0)
    end
    lcov[#lcov + 1] = ("LF:%d\nLH:%d\nend_of_record\n"):format(count, ran)
    local what = rest == "" and "" or "; not run: " .. rest
    local part = math.floor(100 * ran / math.max(count, 1))
    if path ~= file then
      local text = ("%3d %% of %s (%d of %d lines)%s"):format(part, path, ran, count, what)
      reports[#reports + 1] = { path = path, lcov = table.concat(lcov, "\n"), text = text }
    end
  end
  return reports
end

---Runs a test.
---@param i integer
---@return string note   what it should be told, though it has passed
function M.run(i)
  address = core.node.info().advertise
  core.fetch = fake_fetch
  for _, fn in ipairs(before) do fn() end
  cases[i].fn()
  if #unanswered > 0 then
    local what <const> = "it fetched %s, for which it has no answer: fetch_answers { [%q] = ... }"
    error(what:format(unanswered[1], unanswered[1]), 0)
  end
  local own, others = left_behind()
  if #own > 0 then
    error(("it leaves a task running: %s; wait for its end, or tasks.cancel(id)"):format(own[1]), 0)
  end
  return #others > 0 and ("%d tasks of lignum.lua still run: %s"):format(#others, others[1]) or ""
end

return M
