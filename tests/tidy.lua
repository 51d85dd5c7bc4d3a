-- The rules of the house that a machine can check: layers and rooms, who may include what, headers
-- that stand alone, dead files, names, line lengths. Sizes and circles are printed and never fail.
--
--     lua5.4 tests/tidy.lua [--graph | --picture] [root]
--
-- Prints "file:line: what" for each violation and exits 1, or one line that begins "tidy: ok".
-- With --graph it checks nothing, and prints which room uses which, and the circles; with --picture it prints
-- doc/rooms.svg, which `make picture` writes.

local here = arg[0]:match("^(.-)[^/]*$")
local graph = dofile(here .. "graph.lua")
local picture = dofile(here .. "picture.lua")
local wanted = arg[1] and arg[1]:match("^%-%-(%w+)$")
local root = arg[wanted and 2 or 1] or "."
local problems = {}

local function complain(path, line, what)
  problems[#problems + 1] = ("%s:%d: %s"):format(path, line, what)
end

-- files ---------------------------------------------------------------------------------------

local function shell(command)
  local pipe <close> = assert(io.popen("cd '" .. root .. "' && " .. command))
  return pipe:read("a")
end

---One source file, read once.
local function load_file(path)
  local f <close> = assert(io.open(root .. "/" .. path, "rb"))
  local text = f:read("a")
  local lines = {}
  for line in text:gmatch("([^\n]*)\n") do lines[#lines + 1] = line end
  if #text > 0 and text:sub(-1) ~= "\n" then
    lines[#lines + 1] = text:match("[^\n]*$")
    complain(path, #lines, "the last line does not end")
  end
  local folder, stem, ext = path:match("^(.-)/?([^/]+)%.(%w+)$")
  return { path = path, text = text, lines = lines, folder = folder, stem = stem, ext = ext,
           layer = path:match("^core/(%w+)/") or (path:match("^core/") and "top"),
           room = path:match("^core/%w+/([%w_]+)/") }
end

local function list_files()
  local files = {}
  local found = shell("find core scripts tests lignum.lua -type f "
    .. "\\( -name '*.[ch]' -o -name '*.lua' \\) 2>/dev/null | LC_ALL=C sort")
  for path in found:gmatch("[^\n]+") do files[#files + 1] = load_file(path) end
  return files
end

local function is_c(file) return file.ext == "c" or file.ext == "h" end

-- layers --------------------------------------------------------------------------------------

local MAY_USE <const> = {
  base    = { base = true },
  store   = { base = true, store = true },
  net     = { base = true, net = true },
  broker  = { base = true, store = true, net = true, broker = true },
  script  = { base = true, store = true, net = true, broker = true, script = true },
  console = { base = true, store = true, net = true, broker = true, script = true, console = true },
  command = { base = true, store = true, net = true, broker = true, script = true, console = true, command = true },
}

-- The rooms of a layer, lowest first: a file in a room uses its own room and those before it. What
-- stands in the layer's own folder uses all of them, and no room uses that. A layer that is not
-- named here has no order of its rooms yet. Rooms in braces stand side by side: neither uses the other.
local ROOMS <const> = {
  store = { "disk", "format", "senders", "log", "recovery", "replication" },
  broker = { "election", "topic", "wire", "group", "access", { "leader", "follower" }, "cluster" },
  script = { "vm", "bind", "std", "message", "http", "topic", "group", "cluster", "client" },
}

-- Who may include a foreign header; each pattern is matched against the path of the file.
local ONLY <const> = {
  { header = "^lua%.h$",      by = { "^core/script/", "^core/console/" } },
  { header = "^lauxlib%.h$",  by = { "^core/script/", "^core/console/" } },
  { header = "^lualib%.h$",   by = { "^core/script/", "^core/console/" } },
  { header = "^event2/",      by = { "^core/net/" } },
  { header = "^curl/",        by = { "^core/net/libcurl%.h$" } },
  { header = "^pthread%.h$",  by = { "^core/store/disk/worker%.c$" } },
}

local function matches_any(text, patterns)
  for _, pattern in ipairs(patterns) do
    if text:find(pattern) then return true end
  end
  return false
end

---The place of a room in its layer's order: 0 in a layer without one, math.huge for no room.
local function rank(layer, room)
  for i, names in ipairs(ROOMS[layer] or {}) do
    for _, name in ipairs(type(names) == "table" and names or { names }) do
      if name == room then return i end
    end
  end
  return not ROOMS[layer] and 0 or not room and math.huge or nil
end

local function check_room(file)
  if ROOMS[file.layer] and not rank(file.layer, file.room) then
    complain(file.path, 1, ("core/%s/%s is not among the layer's ROOMS"):format(file.layer, file.room))
  end
end

---Whether a file may use what belongs to this room of its own layer.
local function may_use_room(file, room)
  return not ROOMS[file.layer] or file.room == room
    or (rank(file.layer, file.room) or 0) > (rank(file.layer, room) or 0)
end

local function check_own_include(file, line, header)
  local layer = header:match("^(%w+)/[%w_/]+%.h$")
  if file.layer == "top" then
    if not (MAY_USE[layer] or header:match("^[%w_]+%.h$")) then
      complain(file.path, line, ('"%s" is in no layer'):format(header))
    end
  elseif not layer or not MAY_USE[layer] then
    complain(file.path, line, ('write "%s" with its layer'):format(header))
  elseif not MAY_USE[file.layer][layer] then
    complain(file.path, line, ('%s may not include "%s"'):format(file.layer, header))
  elseif file.layer == layer and not may_use_room(file, header:match("^%w+/([%w_]+)/")) then
    complain(file.path, line, ('%s/%s may not include "%s"'):format(layer, file.room, header))
  end
end

local function check_foreign_include(file, line, header)
  for _, rule in ipairs(ONLY) do
    if header:find(rule.header) and not matches_any(file.path, rule.by) then
      complain(file.path, line, ("<%s> may not be included here"):format(header))
    end
  end
end

local function check_includes(file)
  if file.layer ~= "top" and not MAY_USE[file.layer] then
    complain(file.path, 1, "core/" .. file.layer .. " is no layer")
    return
  end
  for i, line in ipairs(file.lines) do
    local open, header = line:match('^%s*#%s*include%s*(["<])([^">]+)')
    if open then check_foreign_include(file, i, header) end
    if open == '"' then check_own_include(file, i, header) end
  end
end

-- headers -------------------------------------------------------------------------------------

local function check_header(file)
  local place = file.layer and file.path:gsub("^core/", "") or file.path:match("[^/]+/[^/]+$")
  local guard = place:gsub("[/.]", "_"):upper()
  if not file.lines[1] or not file.lines[1]:find("^/%*") then
    complain(file.path, 1, "a header begins with a comment that says what it is")
  end
  local _, before = file.text:find("#ifndef " .. guard .. "\n#define " .. guard .. "\n", 1, true)
  if not before then complain(file.path, 1, "the include guard is not " .. guard) end
end

local function compile_headers(headers)
  if #headers == 0 then return end
  local flags = ""
  for _, package in ipairs { "lua5.4", "libevent_core", "libcurl", "libcrypto", "libedit" } do
    local of_package = shell("pkg-config --cflags " .. package .. " 2>/dev/null")
    flags = flags .. " " .. of_package:gsub("\n", "")
  end
  local output = shell("printf '%s\\n' " .. table.concat(headers, " ") .. " | xargs -P 8 -n 4 "
    .. "gcc -std=c11 -D_GNU_SOURCE -Wall -Wextra -Icore -Itests" .. flags
    .. " -fsyntax-only -x c 2>&1")
  for path, line, what in output:gmatch("([%w_/%.]+):(%d+):[%d:]* ([^\n]+)") do
    if what:find("^error") or what:find("^fatal") or what:find("^warning") then
      complain(path, tonumber(line), "a header must compile alone: " .. what)
    end
  end
end

-- dead files ----------------------------------------------------------------------------------

local NO_HEADER <const> = { "^core/main%.c$", "/l_[%w_]+%.c$" }

---A .c without a header of its own is alive while a header of its layer declares a function or table that it defines.
local function is_declared(file, headers)
  for name, open in ("\n" .. file.text):gmatch("\n[%a_][%w_ *]-([%l_][%w_]+)([%(%[])") do
    if headers[file.layer]:find("%f[%w_]" .. name .. "%" .. open) then return true end
  end
  return false
end

local function check_dead_c(files)
  local headers, used = {}, {}
  for _, file in ipairs(files) do
    if file.layer then
      headers[file.layer] = (headers[file.layer] or "") .. (file.ext == "h" and file.text or "")
      for header in ("\n" .. file.text):gmatch('\n%s*#%s*include%s*"([^"]+)"') do
        local path = "core/" .. header
        if path ~= file.path:gsub("c$", "h") then used[path] = true end
      end
    end
  end
  for _, file in ipairs(files) do
    if file.layer and file.ext == "h" and not used[file.path] then
      complain(file.path, 1, "nobody in core includes this header but its own .c")
    elseif file.layer and file.ext == "c" and not matches_any(file.path, NO_HEADER)
        and not is_declared(file, headers) then
      complain(file.path, 1, "no header of its layer declares anything that this defines")
    end
  end
end

---A script lives when a source names it: DIR.NAME, DIR/NAME, or "NAME" in a list of its folder.
local function is_named(file, folder, other)
  local stem = file.stem:gsub("%-", "%%-")
  if other.text:find("%f[%w]" .. folder .. "[./]" .. stem .. "%f[^%w_]") then return true end
  if file.stem == "init" and other.text:find('[("%s]' .. folder .. '"') then return true end
  return other.text:find('"' .. stem .. '"') ~= nil and other.text:find(folder, 1, true) ~= nil
end

local function check_dead_scripts(files)
  for _, file in ipairs(files) do
    local folder = file.path:match("^scripts/.*%f[%w]([%w_]+)/[^/]+%.lua$")
    local alive = not folder or folder == "package"      -- whose files the package and the image take
    for _, other in ipairs(files) do
      if not alive and other ~= file and not other.path:find("^tests/") then
        alive = is_named(file, folder, other)
      end
    end
    if not alive then complain(file.path, 1, "nobody requires this script") end
  end
end

-- lines and names -----------------------------------------------------------------------------

local COLUMNS <const> = { c = 120, h = 120, lua = 120 }
local LEFT_OVERS <const> = { "TO" .. "DO", "FIX" .. "ME", "XX" .. "X" }

local function check_lines(file)
  for i, line in ipairs(file.lines) do
    local columns = utf8.len(line) or #line
    if line:find("\t", 1, true) then complain(file.path, i, "a tab") end
    if line:find("%s$") then complain(file.path, i, "blanks at the end of the line") end
    if columns > COLUMNS[file.ext] then
      complain(file.path, i, ("%d columns, %d are allowed"):format(columns, COLUMNS[file.ext]))
    end
    for _, word in ipairs(LEFT_OVERS) do
      if line:find("%f[%w_]" .. word .. "%f[^%w_]") then complain(file.path, i, word) end
    end
  end
end

local function check_file_name(file)
  if not file.stem:find("^[a-z][a-z0-9_]*$") then
    complain(file.path, 1, "file names are snake_case")
  end
end

local function check_global_server(file)
  for i, line in ipairs(file.lines) do
    if line:find("^[%a_][%w_%s]*[%s%*]server%s*[;=%[]") and not line:find("^struct%s+server;") then
      complain(file.path, i, "no global named server: hand over what is needed")
    end
  end
end

local function check_lua(file)
  local chunk, err = load(file.text:gsub("^#[^\n]*", ""), "=" .. file.path, "t")
  if not chunk then
    complain(file.path, tonumber(err:match(":(%d+):")) or 1, err:gsub("^.-:%d+: ", ""))
  end
end

-- functions -----------------------------------------------------------------------------------

---In house style a C function's brace opens at column 0; what precedes it up to an end is its head.
local function c_head(lines, brace)
  local first = brace
  while first > 1 and not lines[first - 1]:find("^%s*$") and not lines[first - 1]:find("[;}/]$")
      and not lines[first - 1]:find("^[#}]") do
    first = first - 1
  end
  return first, table.concat(lines, " ", first, brace)
end

local function c_functions(file, found)
  for i, line in ipairs(file.lines) do
    local first, head = i, nil
    if line == "{" then
      first, head = c_head(file.lines, i)
    elseif line:find("^[%a_].*%)%s*{$") then
      head = line
    end
    local name = head and head:gsub("__attribute__%s*%b()", ""):match("([%a_][%w_]*)%s*%(")
    if name then
      local last = i
      while last < #file.lines and not file.lines[last]:find("^}") do last = last + 1 end
      found[#found + 1] = { name = name, file = file, line = first, size = last - first + 1,
                            static = head:find("%f[%w_]static%f[^%w_]") ~= nil }
    end
  end
end

local function lua_functions(file, found)
  for i, line in ipairs(file.lines) do
    local indent, name = line:match("^(%s*)local function ([%w_]+)")
    if not name then indent, name = line:match("^(%s*)function ([%w_.:]+)") end
    if name then
      local last = i
      if not line:find("%f[%w]end%s*$") then
        while last < #file.lines and not file.lines[last]:find("^" .. indent .. "end%f[^%w]") do
          last = last + 1
        end
      end
      name = name:match("[%w_]+$")
      found[#found + 1] = { name = name, file = file, line = i, size = last - i + 1 }
    end
  end
end

local FOREIGN_NAMES <const> = { TEST = true, LLVMFuzzerTestOneInput = true }

local function check_names(functions)
  for _, f in ipairs(functions) do
    if not FOREIGN_NAMES[f.name] and not f.name:find("^_*[a-z][a-z0-9_]*$") then
      complain(f.file.path, f.line, f.name .. " is not snake_case")
    end
  end
end

local function sizes(what, functions)
  if #functions == 0 then return what .. ": none" end
  table.sort(functions, function(a, b) return a.size < b.size end)
  local longest = functions[#functions]
  return ("%s: %d functions, median %d lines, 90 %% under %d, longest %d (%s:%d)"):format(what,
    #functions, functions[(#functions + 1) // 2].size, functions[#functions * 9 // 10 + 1].size + 1,
    longest.size, longest.file.path, longest.line)
end

---A function of a later room is not called either, whichever header declares it.
local function check_room_uses(files, uses)
  for _, file in ipairs(files) do
    if file.layer and file.ext == "c" then
      for other, by in pairs(uses[graph.module_of(file)]) do
        local layer, room = other:match("^core/(%w+)/([%w_]+)/")
        if layer == file.layer and by:find("%(") and not may_use_room(file, room) then
          complain(file.path, 1, ("calls %s, which core/%s/%s defines"):format(by, layer, room))
        end
      end
    end
  end
end

-- Lua errors ----------------------------------------------------------------------------------

-- Calls of Lua that can raise, if only because memory runs out.
local RAISING <const> = {
  "^lua_error$", "^luaL_error$", "^luaL_check", "^luaL_ref$", "^luaL_tolstring$", "^lua_new",
  "^lua_createtable$", "^lua_[gs]etfield$", "^lua_pushl?string$", "^lua_pushlstring$",
  "^lua_pushliteral$", "^lua_pushv?fstring$", "^lua_pushcclosure$", "^lua_concat$", "^lua_next$",
}

---In core/script a function that gets a lua_State and can raise has the mark of
---script/vm/raise.h in its header.
local function check_raises(files, functions)
  local marked, unmarked = {}, {}
  for _, file in ipairs(files) do
    if file.layer == "script" and file.ext == "h" then
      for head in file.text:gsub("/%*.-%*/", ""):gmatch("[^;{}#]+%b()[^;{}]*;") do
        local name = head:gsub("__attribute__%s*%b()", ""):match("([%a_][%w_]*)%s*%b()%s*;")
        if name and head:find("MAY_RAISE") then
          marked[name] = true
        elseif name and head:find("lua_State %*") then
          unmarked[name] = true
        end
      end
    end
  end
  for _, f in ipairs(functions) do
    if unmarked[f.name] and f.file.layer == "script" and not f.static then
      local body = table.concat(f.file.lines, "\n", f.line + 1, f.line + f.size - 1)
      for callee in body:gmatch("([%a_][%w_]*)%s*%(") do
        if callee ~= f.name and (marked[callee] or matches_any(callee, RAISING)) then
          complain(f.file.path, f.line, ("%s calls %s: mark it MAY_RAISE"):format(f.name, callee))
        end
      end
    end
  end
end

---The picture in doc/ is the one that the tree gives, and its way of a message names files that exist.
local function check_picture(files)
  for _, path in ipairs(picture.missing(files)) do
    complain("tests/picture.lua", 1, path .. ", a step of WAY, is not in the tree")
  end
  local f <close> = io.open(root .. "/doc/rooms.svg")
  if not f or f:read("a") ~= picture.svg(files, ROOMS) then
    complain("doc/rooms.svg", 1, "it differs from the tree: make picture")
  end
end

-- all -----------------------------------------------------------------------------------------

local files = list_files()
local headers, in_core, in_tests, in_lua, long = {}, {}, {}, {}, {}

for _, file in ipairs(files) do
  check_file_name(file)
  check_lines(file)
  if file.layer then
    check_room(file)
    check_includes(file)
  end
  if file.ext == "h" then
    check_header(file)
    headers[#headers + 1] = file.path
  end
  if is_c(file) then
    check_global_server(file)
    c_functions(file, file.layer and in_core or in_tests)
  else
    check_lua(file)
    lua_functions(file, in_lua)
  end
  if #file.lines > 500 then long[#long + 1] = ("%s (%d)"):format(file.path, #file.lines) end
end
local uses = graph.uses_of(files, in_core)
if wanted == "graph" then
  graph.print(uses)
  os.exit(0)
elseif wanted == "picture" then
  io.write(picture.svg(files, ROOMS))
  os.exit(0)
end
compile_headers(headers)
check_room_uses(files, uses)
check_raises(files, in_core)
check_dead_c(files)
check_dead_scripts(files)
check_picture(files)
check_names(in_core)
check_names(in_tests)
check_names(in_lua)

if #problems > 0 then
  print(table.concat(problems, "\n"))
  os.exit(1)
end
print(("tidy: ok, %d files; %s; %s; %s; over 500 lines: %s"):format(#files, sizes("core", in_core),
  sizes("lua", in_lua), graph.summary(uses), #long > 0 and table.concat(long, ", ") or "none"))
