-- The recipes of doc/examples call what api.lua describes: by names that there are, with no more arguments than these
-- take.
local check = require "check"
local core = require "lignum.core"
local help = require "lignum.help"
local function test(name, fn) check.test(print, name, fn) end

local FOLDER <const> = check.root .. "/doc/examples/"
-- Methods of strings and files, with the most arguments.
local OTHERS <const> = {
  sub = 2, match = 2, find = 3, gsub = 3, format = 99, rep = 2, byte = 2, lower = 0, upper = 0, lines = 1, close = 0,
}

-- [name] = the most arguments: "json.encode"; ":append" of whatever class, the highest; "now".
local function described()
  local most = {}
  local function add(signature)
    local name, params = signature:match("^([%w_.:]+)%((.*)%)$")
    local n = 0
    for param in params:gmatch("[%w_.]+") do n = param == "..." and 99 or n + 1 end
    name = name:gsub("^.*:", ":")
    most[name] = math.max(most[name] or 0, n)
  end
  for _, e in ipairs(help.entries()) do
    if e.kind == "function" then add(e.signature) end
    for _, also in ipairs(e.also or {}) do add(also) end
  end
  for name, n in pairs(OTHERS) do most[":" .. name] = math.max(most[":" .. name] or 0, n) end
  return most
end

-- Without comments, and with empty texts.
local function plain(text)
  text = text:gsub("%-%-[^\n]*", ""):gsub("%[%[.-%]%]", '""')
  return (text:gsub('"[^"\n]*"', '""'):gsub("'[^'\n]*'", '""'))
end

-- How many arguments stand in "(a, f(b, c), { d, e })". Of what follows the first function nothing is counted.
local function count(arguments)
  local inner = arguments:sub(2, -2)
  if not inner:find("%S") then return 0 end
  inner = inner:gsub("%f[%w]function%f[%W].*", "x")
  for _, pair in ipairs { "%b()", "%b{}", "%b[]" } do inner = inner:gsub(pair, "x") end
  return select(2, inner:gsub(",", "")) + 1
end

-- Calls fn with each call of the text: its name and its arguments; "" where they are one table or text.
local function each_call(text, fn)
  local at = 1
  while true do
    local from, to, owner, sign, name = text:find("([%w_]*)%s*([.:]?)([%a_][%w_]*)%f[%s%({\"]", at)
    if not from then return end
    local arguments = text:match("^%s*(%b())", to + 1) or text:match('^%s*[{"]', to + 1)
    if arguments then fn(owner, sign, name, arguments) end
    at = from + math.max(#owner, 1)
  end
end

local function problems_of(text, most, owners)
  local found = {}
  each_call(plain(text), function(owner, sign, name, arguments)
    local full = sign == ":" and ":" .. name or sign == "." and owner .. "." .. name or name
    local n = arguments:sub(1, 1) == "(" and count(arguments) or 1
    local known = most[full]
    if sign == ":" and not known or sign == "." and owners[owner] and not known then
      found[#found + 1] = full .. " is not described"
    elseif known and (sign ~= "." or owners[owner]) and n > known then
      found[#found + 1] = ("%s is called with %d arguments, and takes %d"):format(full, n, known)
    end
  end)
  return found
end

local function read(name)
  local file <close> = assert(core.unsafe.open(FOLDER .. name))
  return file:read("a")
end

local most, owners = described(), {}
for name in pairs(most) do
  local owner = name:match("^(%l+)%.")
  if owner then owners[owner] = true end
end

test("recipes_call_what_is_described_with_arguments_that_it_takes", function()
  local n = 0
  for name in read("README.md"):gmatch("%]%(([%w_]+%.lua)%)") do
    local found = problems_of(read(name), most, owners)
    if #found > 0 then error(name .. ": " .. table.concat(found, "; ")) end
    n = n + 1
  end
  check.equal(n, 40)
end)

test("recipes_with_a_wrong_name_or_too_many_arguments_would_be_found", function()
  local text = 'topic("a"):apend("x") json.encod(1) crypto.sha256(a, b) '
    .. 'topic("a"):offset_at({ 1, 2 }, f(1, 2), 3) now(1)'
  check.equal(problems_of(text, most, owners), {
    ":apend is not described", "json.encod is not described", "crypto.sha256 is called with 2 arguments, and takes 1",
    ":offset_at is called with 3 arguments, and takes 1", "now is called with 1 arguments, and takes 0",
  })
  check.equal(problems_of('say.info("a, b") local x = t.y(1, 2, 3) s:sub(1, 2) topic "a"', most, owners), {})
end)
