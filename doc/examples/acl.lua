-- Who may do what: a list by user, the first line that matches decides. The user is the name in the client's
-- certificate, or of the token that it shows.
local RULES <const> = {
  { user = "admin", topics = "*", may = { read = true, publish = true, consume = true, admin = true, observe = true } },
  { user = "shop-*", topics = "orders.*", may = { publish = true } },
  { user = "*", topics = "public.*", may = { read = true } },
}

local function matches(pattern, text)
  pattern = pattern:gsub("[%^%$%(%)%%%.%[%]%+%-%?]", "%%%0"):gsub("%*", ".*")
  return text:find("^" .. pattern .. "$") ~= nil
end

function authorize(req)
  local user = req.token or req.user or "nobody"
  for _, rule in ipairs(RULES) do
    if matches(rule.user, user) and matches(rule.topics, req.topic or "") then
      if rule.may[req.action] then return { user = user } end
      return false, "forbidden", ("%s may not %s %s"):format(user, req.action, req.topic or "here")
    end
  end
  return false, user == "nobody" and "unauthorized" or "forbidden"
end
