--- HTTP/1.1 for lignum_client, over luasocket and luasec, or over OpenResty's cosockets where there are any.
local M = {}

local ngx = rawget(_G, "ngx")
local cosockets = ngx and ngx.socket and ngx.socket.tcp ~= nil

local LINE_MAX, HEADERS_MAX = 16384, 100

-- What the platforms do differently -------------------------------------------------------------

local platform

if cosockets then
  platform = {
    tcp = ngx.socket.tcp,
    sleep = ngx.sleep,
    now = function() ngx.update_time() return ngx.now() end,
    encode = ngx.encode_base64,
    decode = ngx.decode_base64,
    -- nginx's lua_ssl_trusted_certificate says whom to trust.
    secure = function(socket, host, options)
      local done, session, why = pcall(socket.sslhandshake, socket, nil, host, options.verify ~= false)
      if not done then session, why = nil, session end      -- lua-resty-core raises for some certificates
      return session and socket, why
    end,
    keep = function(_, _, socket) socket:setkeepalive(60000, 32) end,
    kept = function() return nil end,      -- connect() takes one from nginx's pool
  }
else
  local socket, mime = require "socket", require "mime"
  platform = {
    tcp = socket.tcp,
    sleep = socket.sleep,
    now = socket.gettime,
    encode = function(bytes) return (mime.b64(bytes)) end,
    decode = function(text) return (mime.unb64(text)) end,
    keep = function(client, url, connection) client.open[url] = connection end,
    kept = function(client, url)
      local connection = client.open[url]
      client.open[url] = nil
      return connection
    end,
  }

  -- Does a name of a certificate, of which the first word may be "*", mean this host?
  local function matches(name, host)
    name, host = name:lower(), host:lower()
    return name == host or (name:sub(1, 2) == "*." and name:sub(2) == host:match("^[^.]+(%..+)$"))
  end

  -- luasec checks the chain of certificates, but not whose the certificate is.
  local function is_for(certificate, host)
    for _, extension in pairs(certificate:extensions()) do
      for _, list in ipairs { extension.dNSName or {}, extension.iPAddress or {} } do
        for _, name in ipairs(list) do
          if matches(name, host) then return true end
        end
      end
    end
    return false
  end

  function platform.secure(plain, host, options)
    local verify = options.verify ~= false
    local connection, why = require("ssl").wrap(plain, {
      mode = "client", protocol = "any", options = { "all", "no_sslv2", "no_sslv3", "no_tlsv1", "no_tlsv1_1" },
      verify = verify and "peer" or "none",
      cafile = options.ca, capath = not options.ca and "/etc/ssl/certs" or nil,
      certificate = options.cert, key = options.key,
    })
    if not connection then return nil, why end
    connection:settimeout(options.timeout)
    if not host:find("^[%d.]+$") and not host:find(":", 1, true) then connection:sni(host) end
    local done
    done, why = connection:dohandshake()
    if not done then return nil, why end
    if verify and not is_for(connection:getpeercertificate(), host) then
      return nil, "the certificate is not for " .. host
    end
    return connection
  end
end

M.sleep, M.now, M.to_base64, M.from_base64 = platform.sleep, platform.now, platform.encode, platform.decode

-- HTTP ---------------------------------------------------------------------------------------------

local function set_timeout(socket, seconds)
  socket:settimeout(cosockets and math.max(1, math.floor(seconds * 1000)) or seconds)
end

local function connect(client, url, timeout)
  local scheme, authority = url:match("^(https?)://([^/]+)$")
  if not scheme then return nil, "not a URL: " .. url end
  local host, port = authority:match("^%[?(.-)%]?:(%d+)$")
  host = host or authority:gsub("[%[%]]", "")
  port = tonumber(port) or (scheme == "https" and 443 or 80)
  local socket = platform.tcp()
  set_timeout(socket, timeout)
  local done, why = socket:connect(host, port)
  if not done then
    socket:close()
    return nil, why
  end
  if not cosockets then socket:setoption("tcp-nodelay", true) end
  if scheme == "http" then return socket end
  local tls = { verify = client.verify, ca = client.ca, cert = client.cert, key = client.key, timeout = timeout }
  local secured
  secured, why = platform.secure(socket, client.server_name or host, tls)
  if not secured then
    socket:close()
    return nil, "TLS: " .. tostring(why)
  end
  return secured
end

local function request_text(url, method, path, headers, body)
  local lines = { ("%s %s HTTP/1.1"):format(method, path), "Host: " .. url:match("^https?://(.*)$") }
  for name, value in pairs(headers) do
    if (name .. value):find("[\r\n]") then return nil, "a header with a line break" end
    lines[#lines + 1] = name .. ": " .. value
  end
  if body then lines[#lines + 1] = "Content-Length: " .. #body end
  return table.concat(lines, "\r\n") .. "\r\n\r\n" .. (body or "")
end

local function read_line(socket)
  local line, why = socket:receive("*l")
  if not line then return nil, why end
  if #line > LINE_MAX then return nil, "too long a line" end
  return (line:gsub("\r$", ""))
end

local function read_head(socket)
  local line, why = read_line(socket)
  if not line then return nil, why end
  local status = tonumber(line:match("^HTTP/1%.[01] (%d%d%d)"))
  if not status then return nil, "not HTTP" end
  local headers = {}
  for _ = 1, HEADERS_MAX do
    line, why = read_line(socket)
    if not line then return nil, why end
    if line == "" then return status, headers end
    local name, value = line:match("^([^:]+):%s*(.-)%s*$")
    if name then headers[name:lower()] = value end
  end
  return nil, "too many headers"
end

local function read_chunks(socket)
  local parts = {}
  while true do
    local line, why = read_line(socket)
    if not line then return nil, why end
    local size = tonumber(line:match("^%x+"), 16)
    if not size then return nil, "a bad chunk" end
    if size > 0 then
      parts[#parts + 1], why = socket:receive(size)
      if why then return nil, why end
    end
    line, why = read_line(socket)
    if not line then return nil, why end
    if size == 0 then return table.concat(parts) end
  end
end

local function read_body(socket, status, headers)
  if status == 204 or status == 304 or headers["content-length"] == "0" then return "" end
  if headers["transfer-encoding"] then return read_chunks(socket) end
  if headers["content-length"] then return socket:receive(tonumber(headers["content-length"])) end
  headers.connection = "close"
  return socket:receive("*a")
end

local function exchange(socket, text)
  local sent, why = socket:send(text)
  if not sent then return nil, why end
  local status, headers
  repeat
    status, headers = read_head(socket)
    if not status then return nil, headers end
  until status >= 200
  local body
  body, why = read_body(socket, status, headers)
  if not body then return nil, why end
  return status, headers, body
end

---One request to one node. Waits. On a connection that the node has closed meanwhile it is sent again, on a new one.
---@return integer? status
---@return table|string headers   by names in lower case; or what has failed ("timeout", ...)
---@return string? body
function M.request(client, url, method, path, headers, body, timeout)
  local text, bad = request_text(url, method, path, headers, body)
  if not text then return nil, bad end
  local socket = platform.kept(client, url)
  local used = socket ~= nil
  while true do
    if not used then
      local why
      socket, why = connect(client, url, timeout)
      if not socket then return nil, why end
    end
    set_timeout(socket, timeout)
    local status, answered, content = exchange(socket, text)
    if status then
      if (answered.connection or ""):lower() == "close" then
        socket:close()
      else
        platform.keep(client, url, socket)
      end
      return status, answered, content
    end
    socket:close()
    if not used or answered == "timeout" or answered == "wantread" then return nil, answered end
    used = false
  end
end

return M
