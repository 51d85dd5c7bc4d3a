-- The rule of mode_by_lag.lua, apart from it so that a test can ask it.
return function(state, far)
  for _, follower in ipairs(state.followers) do
    if follower.connected and follower.lag_messages < far then return "live" end
  end
  return "wal"
end
