-- Access by secrets in a file, `NAME SECRET` on each line. It is read again every 10 s, so a line that is removed locks
-- its client out.
local FILE <const> = os.getenv "TOKEN_FILE" or "tokens.txt"

local clients = {}     -- [sha256 of a secret] = name

local function read()
  local file = io.open(FILE)
  if not file then return end       -- the clients of before stay
  local found = {}
  for line in file:lines() do
    local name, secret = line:match("^(%S+)%s+(%S+)$")
    if name then found[crypto.sha256(secret)] = name end
  end
  file:close()
  clients = found
end

read()
every(10 * second, read)

function authorize(req)
  local secret = (req:header("authorization") or ""):match("^Bearer (%S+)$")
  local name = secret and clients[crypto.sha256(secret)]
  if not name then return false, "unauthorized", "this secret is not in the file of tokens" end
  return { user = name }
end

function on_publish(msg, ctx)
  msg.headers["published-by"] = ctx.user
end
