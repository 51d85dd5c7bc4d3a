-- Which module of core uses which, and the circles among them, for tests/tidy.lua.
local M = {}

---A module is a .c and its header. It uses another one by including its header, or by naming a
---function that its .c defines, wherever that is declared.
function M.module_of(file) return file.folder .. "/" .. file.stem end

local function c_words(text)
  text = text:gsub("/%*.-%*/", " "):gsub('\\.', ""):gsub('"[^"\n]*"', '""')
  text = text:gsub("%->%s*[%a_][%w_]*", " "):gsub("%.[%a_][%w_]*", " "):gsub("struct%s+[%w_]+", " ")
  local words = {}
  for word in text:gmatch("%f[%w_][%a_][%w_]*") do words[word] = true end
  return words
end

---Of all core, whose functions tidy.lua has found: module -> { module used = the function or header by which }.
function M.uses_of(all, functions)
  local uses, home, own = {}, {}, {}
  for _, f in ipairs(functions) do
    own[f.file.path .. f.name] = f.static
    if not f.static and f.file.ext == "c" then home[f.name] = M.module_of(f.file) end
  end
  for _, file in ipairs(all) do
    if file.layer and (file.ext == "c" or file.ext == "h") then
      local here = M.module_of(file)
      uses[here] = uses[here] or {}
      for header in ("\n" .. file.text):gmatch('\n%s*#%s*include%s*"([^"]+)%.h"') do
        if "core/" .. header ~= here then uses[here]["core/" .. header] = header .. ".h" end
      end
      for word in pairs(file.ext == "c" and c_words(file.text) or {}) do
        local there = not own[file.path .. word] and home[word]
        local known = there and uses[here][there]
        if there and there ~= here and not (known and known:find("%(") and known < word) then
          uses[here][there] = word .. "()"
        end
      end
    end
  end
  return uses
end

local function sorted_keys(t)
  local keys = {}
  for key in pairs(t) do keys[#keys + 1] = key end
  table.sort(keys)
  return keys
end

---The circles among nodes: lists of those that reach each other (Tarjan), of two or more.
local function circles(nodes, next_of)
  local order, low, stack, on, found, count = {}, {}, {}, {}, {}, 0
  local function visit(node)
    count = count + 1
    order[node], low[node], on[node] = count, count, true
    stack[#stack + 1] = node
    for _, other in ipairs(next_of(node)) do
      if not order[other] then visit(other) end
      if on[other] then low[node] = math.min(low[node], low[other]) end
    end
    if low[node] < order[node] then return end
    local circle = {}
    repeat
      local last = table.remove(stack)
      on[last] = nil
      circle[#circle + 1] = last
    until last == node
    table.sort(circle)
    if #circle > 1 then found[#found + 1] = circle end
  end
  for _, node in ipairs(nodes) do
    if not order[node] then visit(node) end
  end
  return found
end

---Circles of modules that lie in one folder.
local function folder_circles(uses)
  local function folder(module) return module:match("^(.*)/") end
  return circles(sorted_keys(uses), function(module)
    local next = {}
    for _, other in ipairs(sorted_keys(uses[module])) do
      if folder(other) == folder(module) and uses[other] then next[#next + 1] = other end
    end
    return next
  end)
end

local function place_of(module)
  return module:match("^core/(.*)/[^/]+$") or "core"
end

---Of rooms: room -> { room used = "module uses what" }.
local function room_uses(uses)
  local rooms = {}
  for _, module in ipairs(sorted_keys(uses)) do
    local here = place_of(module)
    rooms[here] = rooms[here] or {}
    for _, other in ipairs(sorted_keys(uses[module])) do
      local there = place_of(other)
      if there ~= here then
        rooms[here][there] = rooms[here][there] or (module:match("[^/]+$") .. ": " .. uses[module][other])
      end
    end
  end
  return rooms
end

local function circle_line(circle)
  local names = {}
  for i, module in ipairs(circle) do names[i] = module:match("[^/]+$") end
  return ("%s: %d: %s"):format(place_of(circle[1]), #circle, table.concat(names, " "))
end

function M.print(uses)
  local rooms = room_uses(uses)
  print("rooms, and what they use")
  for _, room in ipairs(sorted_keys(rooms)) do
    print(("  %-22s %s"):format(room, table.concat(sorted_keys(rooms[room]), " ")))
  end
  local of_rooms = circles(sorted_keys(rooms), function(room) return sorted_keys(rooms[room]) end)
  print(("circles of rooms: %d"):format(#of_rooms))
  for _, circle in ipairs(of_rooms) do
    print("  " .. table.concat(circle, " "))
    for _, room in ipairs(circle) do
      for _, other in ipairs(circle) do
        local why = rooms[room][other]
        if why then print(("    %-22s > %-22s %s"):format(room, other, why)) end
      end
    end
  end
  local of_files = folder_circles(uses)
  print(("circles of files within a folder: %d"):format(#of_files))
  for _, circle in ipairs(of_files) do print("  " .. circle_line(circle)) end
end

function M.summary(uses)
  local found, files = folder_circles(uses), 0
  for _, circle in ipairs(found) do files = files + #circle end
  return ("circles within folders: %d, of %d files"):format(#found, files)
end

return M
