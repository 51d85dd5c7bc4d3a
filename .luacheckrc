-- make lint
std = "lua54"
max_line_length = 120
exclude_files = { "build/**", "tests/abuse/**", "rocks/share/**", "rocks/lib/**" }

-- api.lua describes functions: they are empty, and global.
files["scripts/lignum/api.lua"] = { ignore = { "1", "2" } }

-- Configurations see the verbs of scripts/lignum/config.lua and the functions of api.lua.
local lignum = {
  read_globals = {
    "listen", "store", "limits", "log", "console", "cluster", "cors", "access", "token", "tokens", "durable_streams", "every", "consume", "topic", "topics", "route", "http", "json", "node", "say",
    "time", "now", "sleep", "fetch", "reject", "crypto",
    "jwt", "webhook", "shared", "metrics",
    "after", "cron", "include", "spawn", "tasks", "lock", "signal",
    "second", "minute", "hour", "day", "KB", "MB", "GB", "TB", "KiB", "MiB", "GiB", "TiB",
  },
  globals = { "filter", "on_publish", "authorize", "may_lead", "on_leader_change", "ship", "on_retry", "on_published", "on_start",
    "on_unload" },
}
files["lignum.lua"] = lignum
files["scripts/package/image.lua"] = lignum
files["doc/examples/*.lua"] = lignum
local tests = { read_globals = {
  "test", "before", "request", "fetch_answers", "fetched", "advance", "advance_to", "may_lead",
  assert = { fields = { "equal", "differ", "has", "raises", "status" } },
} }
for _, name in ipairs(lignum.read_globals) do table.insert(tests.read_globals, name) end
files["doc/examples/*_test.lua"] = tests
files["tests/lua/clock.lua"] = lignum
files["tests/lua/clock_test.lua"] = tests
files["tests/lua/lignum.lua"] = lignum
files["tests/bench/dict.lua"] = lignum
files["tests/clients/nginx.lua"] = { globals = { "ngx" } }
files["rocks/lignum_client/transport.lua"] = { read_globals = { "ngx" } }
