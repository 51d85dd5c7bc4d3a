-- A message with a key that was seen within an hour is refused, though its client did not name its request.
function on_publish(msg)
  if msg.topic ~= "payments" then return end
  if not msg.key then return reject("a payment needs a key", { status = 422 }) end
  if not shared.dict("payments"):add(msg.key, true, hour) then
    return reject("this payment was taken already", { status = 409, code = "duplicate" })
  end
end
