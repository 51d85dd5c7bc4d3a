-- One request stores a message in several topics: POST /broadcast with {"topics": [...], "data": "..."}.
route.post("/broadcast", function(req)
  local body, why, code = req:json { topics = "table", data = "string" }
  if not body then return http.fail(code, why) end
  if #body.topics == 0 or #body.topics > 20 then return http.fail("bad_value", "topics: 1 to 20 names") end
  local receipts = {}
  for i, name in ipairs(body.topics) do
    local first, problem, kind = topic(name):append(body.data)
    if not first then
      return http.fail(kind, ("%s: %s"):format(name, problem), { stored = json.array(receipts) })
    end
    receipts[i] = { topic = name, first = first }
  end
  return 200, { stored = json.array(receipts) }
end)
