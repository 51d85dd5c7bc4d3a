-- Orders are `live` while a follower keeps up, and `wal` while all are far behind: then publishes do not wait for them.
local FAR <const> = 10000          -- messages

local mode = require "mode_by_lag_rule"

topic "orders" { replication = function(_, state) return mode(state, FAR) end }
