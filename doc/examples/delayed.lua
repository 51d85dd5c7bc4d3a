-- Reminders: POST /remind with {"at": "2026-03-01T09:00:00Z", "text": "..."}. A group delivers each when its time has
-- come.
route.post("/remind", function(req)
  local body, why, code = req:json { at = "string", text = "string" }
  if not body then return http.fail(code, why) end
  local at = time.parse(body.at)
  if not at or at < now() then return http.fail("bad_value", "at: must be a time that is to come") end
  local message = { payload = body.text, headers = { ["lignum-deliver-at"] = body.at } }
  local first, problem, kind = topic("reminders"):append(message)
  if not first then return http.fail(kind, problem) end
  return 201, { id = first }
end)
