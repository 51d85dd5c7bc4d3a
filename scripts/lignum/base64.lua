--- Base64 (RFC 4648, with padding).
local core = require "lignum.core"

local M = {}

local ALPHABET <const> = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
local PIECE <const> = 16 * 1024   -- characters between two chances for the others

local VALUE, LETTER = {}, {}
for i = 1, 64 do
  VALUE[ALPHABET:byte(i)] = i - 1
  LETTER[i - 1] = ALPHABET:sub(i, i)
end

local function decode_four(four)
  local a, b, c, d = four:byte(1, 4)
  local n = VALUE[a] << 18 | VALUE[b] << 12 | (VALUE[c] or 0) << 6 | (VALUE[d] or 0)
  local bytes = string.char(n >> 16, n >> 8 & 255, n & 255)
  return four:find("==", 3, true) and bytes:sub(1, 1) or four:find("=", 4, true) and bytes:sub(1, 2) or bytes
end

---The bytes, or nil for what is no base64. Lets others go first where the text is long.
---@param text string
---@return string?
function M.decode(text)
  if #text % 4 ~= 0 or not text:find("^[%w+/]*=?=?$") then return nil end
  local pieces = {}
  for at = 1, #text, PIECE do
    if #text > PIECE then core.sleep(0) end
    pieces[#pieces + 1] = text:sub(at, at + PIECE - 1):gsub("....", decode_four)
  end
  return table.concat(pieces)
end

local function encode_three(three)
  local a, b, c = three:byte(1, 3)
  local n = a << 16 | (b or 0) << 8 | (c or 0)
  return LETTER[n >> 18] .. LETTER[n >> 12 & 63] .. (b and LETTER[n >> 6 & 63] or "=") .. (c and LETTER[n & 63] or "=")
end

---@param bytes string
---@return string
function M.encode(bytes)
  return (bytes:gsub("..?.?", encode_three))
end

return M
