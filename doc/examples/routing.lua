-- Messages to `events` go to a topic by their type. Those of an unknown type are kept where they can be looked at.
local TYPES <const> = { order = "events.orders", payment = "events.payments" }

function on_publish(msg)
  if msg.topic ~= "events" then return end
  msg.topic = TYPES[msg.headers["type"]] or "events.unknown"
end
