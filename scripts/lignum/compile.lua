--- Lines of the console as functions.
local M = {}

---Compiles the text as an expression or else as a statement. When both fail, and one of them only at its end, the
---statement is unfinished.
---@param text string
---@param env table
---@return function? chunk
---@return string? problem
---@return boolean? unfinished
function M.line(text, env)
  local chunk, as_expression = load("return " .. text, "=console", "t", env)
  if chunk then return chunk end
  local as_statement
  chunk, as_statement = load(text, "=console", "t", env)
  if chunk then return chunk end
  local unfinished = as_expression:find("<eof>$") or as_statement:find("<eof>$")
  return nil, as_statement, unfinished ~= nil
end

return M
