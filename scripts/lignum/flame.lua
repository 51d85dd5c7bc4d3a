--- Profiles as text and as a picture. A profile is { ["outermost;...;innermost"] = samples }.
local M = {}

local WIDTH <const>, ROW <const>, TOP <const> = 1200, 17, 40
local LEAST <const> = 0.3             -- pixels of what is drawn
local CHAR <const> = 6.6              -- pixels of a letter

local function sorted(stacks)
  local names = {}
  for stack in pairs(stacks) do names[#names + 1] = stack end
  table.sort(names)
  return names
end

---One stack a line, as flame graph tools read them.
---@param stacks table<string, integer>
---@return string
function M.folded(stacks)
  local lines = {}
  for _, stack in ipairs(sorted(stacks)) do lines[#lines + 1] = ("%s %d\n"):format(stack, stacks[stack]) end
  return table.concat(lines)
end

local function tree_of(stacks)
  local root = { name = "all", count = 0, children = {}, order = {} }
  for _, stack in ipairs(sorted(stacks)) do
    local node, n = root, stacks[stack]
    root.count = root.count + n
    for name in stack:gmatch("[^;]+") do
      local child = node.children[name]
      if not child then
        child = { name = name, count = 0, children = {}, order = {} }
        node.children[name] = child
        node.order[#node.order + 1] = child
      end
      child.count = child.count + n
      node = child
    end
  end
  return root
end

local ESCAPES <const> = { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;" }

local function escape(text) return (text:gsub('[&<>"]', ESCAPES)) end

-- Names of Lignum's own scripts are grey, C is blue, the operator's code is warm.
local function colour(name)
  if name:find("[C]", 1, true) then return "#9fc5e8" end
  local sum = 0
  for i = 1, #name do sum = (sum * 31 + name:byte(i)) % 55 end
  return ("rgb(%d,%d,80)"):format(205 + sum, 100 + sum * 2)
end

local function draw(out, node, x, depth, scale, deepest)
  local width = node.count * scale
  if width < LEAST then return deepest end
  local y, text = TOP + depth * ROW, node.name
  local room = width // CHAR - 1
  if #text > room then text = room > 3 and text:sub(1, math.tointeger(room) - 2) .. ".." or "" end
  out[#out + 1] = ('<g><title>%s (%d samples)</title><rect x="%.1f" y="%d" width="%.1f" height="%d" fill="%s" rx="1"/>'
    .. '<text x="%.1f" y="%d">%s</text></g>'):format(escape(node.name), node.count, x, y, width, ROW - 1,
    colour(node.name), x + 3, y + 12, escape(text))
  for _, child in ipairs(node.order) do
    deepest = draw(out, child, x, depth + 1, scale, math.max(deepest, depth + 1))
    x = x + child.count * scale
  end
  return deepest
end

---A flame graph: the outermost functions at the top, as wide as their share of the samples.
---@param stacks table<string, integer>
---@param title string
---@return string
function M.svg(stacks, title)
  local out, root = {}, tree_of(stacks)
  local deepest = root.count == 0 and 0 or draw(out, root, 0, 0, WIDTH / root.count, 0)
  local height = TOP + (deepest + 1) * ROW + 10
  return ('<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d">\n'
    .. '<style>text { font: 11px monospace } .title { font-size: 15px }</style>\n<text class="title" x="3" y="22">%s, '
    .. '%d samples</text>\n%s\n</svg>\n'):format(WIDTH, height, WIDTH, height, escape(title), root.count,
    table.concat(out, "\n"))
end

return M
