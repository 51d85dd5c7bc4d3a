--- The globals that the functions of a chunk read and assign, from their bytecode. So a misspelt name is found without
--- calling the function that has it.
---
--- The format is that of Lua 5.4 (lundump.c, lopcodes.h). A global is a field of the chunk's first upvalue, _ENV, which
--- nested functions have from the function around them. A `local _ENV` is another table, and left out.
local core = require "lignum.core"

local M = {}

local HEADER <const> = "\27Lua\x54\0\x19\x93\r\n\x1a\n\4\8\8"
local NUMBERS <const> = 16                  -- bytes behind it: an integer and a float, in the format of the machine
local LINE_ABSOLUTE <const> = -128          -- the line of an instruction stands in a list of its own

-- Opcodes, and those that leave register A as it is.
local LOADK <const>, GETUPVAL <const>, GETTABUP <const>, GETTABLE <const> = 3, 9, 11, 12
local SETTABUP <const>, SETTABLE <const>, VARARGPREP <const> = 15, 16, 81
local KEEPS = { [10] = true, [15] = true, [16] = true, [17] = true, [18] = true }
for op = 56, 67 do KEEPS[op] = true end     -- JMP, the comparisons and tests

-- A reader of a dump: each method takes a value off its front.
local Reader = {}
Reader.__index = Reader

function Reader:byte()
  self.at = self.at + 1
  return self.text:byte(self.at - 1)
end

function Reader:integer()
  local value = 0
  while true do
    local byte = self:byte()
    value = value << 7 | byte & 0x7f
    if byte >= 0x80 then return value end
  end
end

function Reader:string()
  local size = self:integer()
  if size == 0 then return nil end
  self.at = self.at + size - 1
  return self.text:sub(self.at - size + 1, self.at - 1)
end

function Reader:list(read)
  local list = {}
  for i = 0, self:integer() - 1 do list[i] = read(self) end
  return list
end

-- The constant when it is a string.
function Reader:constant()
  local kind = self:byte()
  if kind == 0x04 or kind == 0x14 then return self:string() end
  if kind == 0x03 or kind == 0x13 then self.at = self.at + 8 end
end

function Reader:instruction()
  self.at = self.at + 4
  return (("<I4"):unpack(self.text, self.at - 4))
end

function Reader:upvalue()
  local in_stack, index = self:byte(), self:byte()
  self:byte()
  return in_stack == 0 and index
end

local function read_pair(reader) return { at = reader:integer(), line = reader:integer() } end

local function read_local(reader)
  reader:string()
  return reader:integer() and reader:integer() and nil
end

-- The lines of all instructions.
function Reader:lines(first)
  local deltas = self:list(function(r) return (r:byte() + 128) % 256 - 128 end)
  local absolute, lines, line = {}, {}, first
  for _, pair in pairs(self:list(read_pair)) do absolute[pair.at] = pair.line end
  for i = 0, #deltas do
    line = deltas[i] == LINE_ABSOLUTE and absolute[i] or line + (deltas[i] or 0)
    lines[i] = line
  end
  return lines
end

-- The globals that one function uses, in the order of its code. `env`: which of its upvalues are _ENV.
local function uses_of(code, constants, env)
  local uses = {}
  local tables, names = {}, {}              -- by register: it holds _ENV; it holds this text
  local function add(i, name, assigned)
    if name then uses[#uses + 1] = { at = i, name = name, assigned = assigned } end
  end
  for i = 0, #code do
    local word = code[i]
    local op, a, b, c = word & 0x7f, word >> 7 & 0xff, word >> 16 & 0xff, word >> 24
    if op == GETTABUP and env[b] then add(i, constants[c], false) end
    if op == SETTABUP and env[a] then add(i, constants[b], true) end
    if op == GETTABLE and tables[b] then add(i, names[c], false) end
    if op == SETTABLE and tables[a] then add(i, names[b], true) end
    if not KEEPS[op] then
      for register in pairs(tables) do if register >= a then tables[register] = nil end end
      for register in pairs(names) do if register >= a then names[register] = nil end end
    end
    if op == GETUPVAL and env[b] then tables[a] = true end
    if op == LOADK then names[a] = constants[word >> 15] end
  end
  return uses
end

-- Reads a function and those in it; appends what they use to `all`. `outer`: which upvalues of the function around it
-- are _ENV; nil: it is the chunk itself.
local function read_function(reader, outer, all)
  reader:string()
  local first = reader:integer()
  reader:integer()
  reader.at = reader.at + 3                 -- parameters, varargs, stack
  local code = reader:list(reader.instruction)
  local constants = reader:list(reader.constant)
  local env = {}
  for i, index in pairs(reader:list(reader.upvalue)) do
    if outer then env[i] = index and outer[index] else env[i] = i == 0 end
  end
  reader:list(function() return read_function(reader, env, all) end)
  local lines = reader:lines(first)
  for i = 0, #code - 1 do                   -- the last instruction returns from the line of `end`
    if code[i] & 0x7f ~= VARARGPREP then all.lines[lines[i]] = true end
  end
  reader:list(read_local)
  reader:list(reader.string)
  for _, use in ipairs(uses_of(code, constants, env)) do
    all[#all + 1] = { name = use.name, assigned = use.assigned, line = lines[use.at] }
  end
end

---All uses of globals in a chunk and the functions in it; in its field `lines` those that have code.
---@param chunk function
---@return { name: string, assigned: boolean, line: integer }[]
function M.uses(chunk)
  local text, all = core.dump(chunk), { lines = {} }
  if text:sub(1, #HEADER) ~= HEADER then return all end       -- another Lua
  read_function(setmetatable({ text = text, at = #HEADER + NUMBERS + 2 }, Reader), nil, all)
  return all
end

return M
