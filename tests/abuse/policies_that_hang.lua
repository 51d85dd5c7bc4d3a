-- sends: POST /v1/topics/t/messages
-- works: metrics reads
topic "*" { replication = function() sleep(3600) return "wal" end }
function may_lead() while true do end end
function ship() sleep(3600) end
function on_leader_change() error {} end
