-- Work that fails is tried again after 10 s, 60 s and 10 minutes; then it goes to a topic for people to look at.
local PAUSES <const> = { 10, 60, 600 }

topic "jobs.dead" { retain = { age = 30 * day } }

function on_retry(_, deliveries)
  return PAUSES[deliveries] or "dead"
end

-- Who works: PUT /v1/topics/jobs/groups/workers {"dead_letter": "jobs.dead", "deliveries": 10}
consume("jobs", "workers", function(msg)
  local answer = fetch { url = "https://worker.example/", body = msg.payload }
  if not answer or answer.status ~= 200 then return "release" end
end)
