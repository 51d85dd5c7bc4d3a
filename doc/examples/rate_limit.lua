-- At most 100 messages a minute of each client, counted over reloads. limits.client bounds requests of all kinds.
local MOST <const> = 100

function on_publish(_, ctx)
  if not ctx.peer then return end          -- a script of this node
  local client = ctx.user or ctx.peer:match("^(.*):%d+$")
  local n = shared.dict("rate"):incr(client, 1, minute)
  if n > MOST then return reject(("more than %d messages in a minute"):format(MOST), "too_many_requests") end
end
