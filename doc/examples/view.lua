-- A view: the balance of each account, made from the topic `transfers` and kept up to date while messages arrive.
local balances, seen = {}, 0

local function catch_up()
  local held <close> = lock "view"                    -- one task reads at a time
  if not held then return end
  local transfers = topic "transfers"
  if not transfers:info() then return end
  for m in transfers:each { from = seen } do
    local t = json.decode(m.payload)
    balances[t.from] = (balances[t.from] or 0) - t.amount
    balances[t.to] = (balances[t.to] or 0) + t.amount
    seen = m.offset + 1
  end
end

route.get("/balances/{account}", function(req)
  catch_up()
  local balance = balances[req.params.account]
  if not balance then return http.fail("not_found", "there is no such account") end
  return 200, { account = req.params.account, balance = balance, at = seen }
end)
