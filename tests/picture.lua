-- Draws doc/rooms.svg from the tree: layers, their rooms with their files, and the way of a message. `make picture`
-- writes it; tests/tidy.lua draws it again and compares, so that the picture cannot differ from the tree.

-- Top layer first. Of each layer the rooms in the order in which they may include each other, the lowest first;
-- "" is the layer's own folder.
local LAYERS <const> = {
  { name = "command", note = "the command line; main.c starts the stages and runs the turn" },
  { name = "console", note = "the server side of the Lua console" },
  { name = "script", note = "Lua states, tasks, bindings" },
  { name = "broker", note = "topics, leadership, replication" },
  { name = "net", note = "the loop, HTTP, links between nodes" },
  { name = "store", note = "the data directory" },
  { name = "base", note = "what everything uses" },
}

-- The way of a published message. `file` is where a reader looks; the picture shows the number in its room.
local WAY <const> = {
  { file = "core/net/http_parse.c", text = "bytes of a socket become a request" },
  { file = "core/script/vm/task.c", text = "a task runs the route in Lua (scripts/routes/message.lua)" },
  { file = "core/script/topic/l_publish.c", text = "req:publish encodes the messages as one batch" },
  { file = "core/broker/topic/topic.c", text = "topic_append gives the batch its offsets and its epoch" },
  { file = "core/store/log/append.c", text = "the batch is written to the active segment: written rises" },
  { file = "core/store/disk/worker.c", text = "the disk thread syncs the file: disk rises" },
  { file = "core/broker/leader/feed.c", text = "in a cluster the batch is sent to each follower" },
  { file = "core/broker/follower/upstream.c",
    text = "a follower appends the same bytes and acknowledges: peers rises" },
  { file = "core/broker/topic/mark.c", text = "the acknowledging mark wakes the task" },
  { file = "core/net/http_answer.c", text = "the answer goes back to the socket" },
}

local WIDTH <const>, MARGIN <const>, GAP <const>, LINE <const> = 1120, 16, 10, 16
local LABEL <const> = 130                     -- width of the column with the layers' names
local CHAR <const> = 6.7                      -- width of a letter of the file names

---Rooms of a layer: those of `order` first, then any that it does not name.
local function rooms_of(files, layer, order)
  local rooms, of = {}, {}
  local function room_of(name)
    if not of[name] then
      of[name] = { name = name, folder = "core/" .. layer .. (name ~= "" and "/" .. name or ""), stems = {} }
      rooms[#rooms + 1] = of[name]
    end
    return of[name]
  end
  for _, name in ipairs(order or {}) do
    for _, side in ipairs(type(name) == "table" and name or { name }) do room_of(side) end
  end
  for _, file in ipairs(files) do
    if file.layer == layer then
      local stems = room_of(file.room or "").stems
      if stems[#stems] ~= file.stem then stems[#stems + 1] = file.stem end
    end
  end
  return rooms
end

---Breaks words into lines of at most `width` pixels.
local function wrap(words, width)
  local lines, line = {}, nil
  for _, word in ipairs(words) do
    if line and (#line + 1 + #word) * CHAR > width then
      lines[#lines + 1], line = line, word
    else
      line = line and line .. " " .. word or word
    end
  end
  lines[#lines + 1] = line
  return lines
end

local function words_of(text)
  local words = {}
  for word in text:gmatch("%S+") do words[#words + 1] = word end
  return words
end

local M = {}

local out = {}
local function add(fmt, ...) out[#out + 1] = select("#", ...) > 0 and fmt:format(...) or fmt end

local function draw(files, orders)
  local y, steps = MARGIN, {}
  for i, step in ipairs(WAY) do
    local folder = step.file:match("^(.*)/")
    steps[folder] = steps[folder] or {}
    table.insert(steps[folder], i)
  end
  for _, layer in ipairs(LAYERS) do
    local rooms = rooms_of(files, layer.name, orders[layer.name])
    local columns = math.min(#rooms, 3)
    local width = (WIDTH - 2 * MARGIN - LABEL - GAP * (columns + 1)) / columns
    local top = y
    y = y + GAP
    for first = 1, #rooms, columns do
      local height = 0
      for i = first, math.min(first + columns - 1, #rooms) do
        rooms[i].lines = wrap(words_of(table.concat(rooms[i].stems, ", ")), width - 2 * GAP)
        height = math.max(height, 26 + LINE * #rooms[i].lines)
      end
      for i = first, math.min(first + columns - 1, #rooms) do
        local room, x = rooms[i], MARGIN + LABEL + GAP + (i - first) * (width + GAP)
        add('<rect x="%g" y="%g" width="%g" height="%g" class="room"/>', x, y, width, height)
        add('<text x="%g" y="%g" class="name">%s</text>', x + GAP, y + 16,
          room.name == "" and layer.name or room.name)
        for n, line in ipairs(room.lines) do
          add('<text x="%g" y="%g" class="files">%s</text>', x + GAP, y + 17 + LINE * n, line)
        end
        for n, step in ipairs(steps[room.folder] or {}) do
          local cx = x + width - 14 - (#steps[room.folder] - n) * 24
          add('<circle cx="%g" cy="%g" r="10" class="step"/><text x="%g" y="%g" class="number">%d</text>',
            cx, y + 13, cx, y + 17, step)
        end
      end
      y = y + height + GAP
    end
    local note = wrap(words_of(layer.note), LABEL)
    y = math.max(y, top + 36 + 13 * #note)
    table.insert(out, 1, ('<rect x="%g" y="%g" width="%g" height="%g" class="layer"/>')
      :format(MARGIN, top, WIDTH - 2 * MARGIN, y - top))
    add('<text x="%g" y="%g" class="title">%s</text>', MARGIN + 12, top + 28, layer.name)
    for n, line in ipairs(note) do
      add('<text x="%g" y="%g" class="note">%s</text>', MARGIN + 12, top + 30 + 13 * n, line)
    end
    y = y + GAP
  end
  add('<text x="%g" y="%g" class="title">The way of a message</text>', MARGIN, y + 18)
  y = y + 28
  for i, step in ipairs(WAY) do
    local x = MARGIN + ((i - 1) % 2) * (WIDTH / 2)
    add('<circle cx="%g" cy="%g" r="10" class="step"/><text x="%g" y="%g" class="number">%d</text>',
      x + 10, y + 10, x + 10, y + 14, i)
    add('<text x="%g" y="%g" class="files">%s</text>', x + 28, y + 10, step.file)
    add('<text x="%g" y="%g" class="note">%s</text>', x + 28, y + 24, step.text)
    if i % 2 == 0 then y = y + 36 end
  end
  return y + MARGIN
end

---The files of WAY that the tree does not have.
function M.missing(files)
  local there, gone = {}, {}
  for _, file in ipairs(files) do there[file.path] = true end
  for _, step in ipairs(WAY) do
    if not there[step.file] then gone[#gone + 1] = step.file end
  end
  return gone
end

---The picture as SVG text. `files`: those of core, sorted, as tests/tidy.lua reads them; `orders`: of each layer the
---order of its rooms.
function M.svg(files, orders)
  out = {}
  local height = draw(files, orders)
  return ([[
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="Helvetica, Arial, sans-serif">
<title>Layers and rooms of Lignum, and the way of a message</title>
<style>
svg { background: #fff }
.layer { fill: #eef1f5; stroke: #b9c2cd }
.room { fill: #fff; stroke: #8a97a6 }
.title { font-size: 17px; font-weight: bold; fill: #1c2733 }
.name { font-size: 13px; font-weight: bold; fill: #1c4e80 }
.files { font-size: 12px; font-family: Menlo, Consolas, monospace; fill: #1c2733; letter-spacing: -0.5px }
.note { font-size: 11px; fill: #4a5866 }
.step { fill: #c2410c }
.number { font-size: 11px; font-weight: bold; fill: #fff; text-anchor: middle }
</style>
]]):format(WIDTH, height) .. table.concat(out, "\n") .. "\n</svg>\n"
end

return M
