--- Where HTTP is served: what `listen` in lignum.lua says about TLS, and whether its files can be used.
local core = require "lignum.core"

local M = {}

---@class lignum.Listener
---@field address string
---@field tls? { cert: string, key: string, names?: table, client_ca?: string, client_auth?: string }

-- Exact names first: the first one that fits is taken.
local function hosts_of(names)
  local hosts = {}
  for host in pairs(names or {}) do hosts[#hosts + 1] = host end
  table.sort(hosts, function(a, b)
    local any = a:sub(1, 1) == "*"
    if any ~= (b:sub(1, 1) == "*") then return not any end
    return a < b
  end)
  return hosts
end

---The description that C reads (core/net/tls_server.h), or nil for a plain listener. No field has a control character.
---@param listener lignum.Listener?
---@return string?
function M.files(listener)
  local tls = listener and listener.tls
  if not tls then return nil end
  local lines = { ("%s\t%s\n\t%s\t%s\n"):format(tls.client_ca or "", tls.client_auth or "required", tls.cert, tls.key) }
  for _, host in ipairs(hosts_of(tls.names)) do
    lines[#lines + 1] = ("%s\t%s\t%s\n"):format(host, tls.names[host].cert, tls.names[host].key)
  end
  return table.concat(lines)
end

-- Both files of a pair must be there. False after a report.
local function check_pair(pair, path, report)
  for _, name in ipairs { "cert", "key" } do
    if not pair[name] then return report(path, ("needs %s, a file in PEM form"):format(name)) end
  end
  return true
end

local function check_date(path, seconds, report)
  if seconds > core.now() then return end
  report(".tls", ("%s: the certificate has expired, on %s"):format(path, os.date("!%F %T UTC", seconds)))
end

---Checks that the files of a listener can be used. A node serves with a certificate that has expired, as its clients
---may not mind and its peers need it; `lignum check` refuses one.
---@param listener lignum.Listener
---@param checking boolean?   by `lignum check`
---@param report fun(path: string, problem: string)   the path begins with "."
function M.check(listener, checking, report)
  local tls = listener.tls
  if not tls then return end
  if not check_pair(tls, ".tls", report) then return end
  for _, host in ipairs(hosts_of(tls.names)) do
    if not check_pair(tls.names[host], (".tls.names[%q]"):format(host), report) then return end
  end
  if #hosts_of(tls.names) > core.limits.tls_names_max then
    return report(".tls.names", ("has more than %d names"):format(core.limits.tls_names_max))
  end
  if tls.client_auth and not tls.client_ca then return report(".tls.client_auth", "needs client_ca") end
  local found, problem = core.certificates(M.files(listener))
  if not found then return report(".tls", problem) end
  if not checking then return end
  check_date(tls.cert, found[1], report)
  for i, host in ipairs(hosts_of(tls.names)) do check_date(tls.names[host].cert, found[i + 1], report) end
end

---What of the listeners a reload cannot change.
---@param list lignum.Listener[]
---@return table[]
function M.fixed(list)
  local fixed = {}
  for i, listener in ipairs(list) do fixed[i] = { listener.address, listener.tls ~= nil } end
  return fixed
end

return M
