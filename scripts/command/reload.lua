--- lignum reload: a node loads its lignum.lua and scripts again.
local core = require "lignum.core"
local remote = require "lignum.remote"
local shell = require "lignum.shell"

local KINDS <const> = { "same", "accepted", "rejected", "changed", "rerouted", "failed" }
local SAID <const> = {
  reloaded = "has reloaded", canary = "has a canary", aborted = "has ended its canary", off = "has no canary",
}

local function print_report(one)
  local report = one:json("GET", remote.path { "canary" })
  if report.share then report.share = ("%g %%"):format(report.share * 100) end
  shell.out(("%s: canary %s%s%s\n"):format(one:url(), report.state, report.share and ", " .. report.share or "",
    report.why and ": " .. report.why or ""))
  if not report.kinds then return end
  for _, kind in ipairs(KINDS) do
    shell.out(("%-10s %d\n"):format(kind, report.kinds[kind]))
    for _, example in ipairs(report.examples[kind] or {}) do
      shell.out(("           %s  %s\n"):format(core.time.format(example.time), shell.plain(example.what)))
    end
  end
end

local function run(_, flags, node)
  local asked = {}
  for _, name in ipairs { "canary", "promote", "abort", "status" } do
    if flags[name] then asked[#asked + 1] = "--" .. name end
  end
  if #asked > 1 then shell.fail(64, "%s and %s exclude each other", asked[1], asked[2]) end
  local query = flags.canary and { canary = flags.canary } or flags.abort and { canary = "abort" } or nil
  for _, one in ipairs(flags.all and node:members() or { node }) do
    if flags.status then
      if flags.json_out then shell.json(one:json("GET", remote.path { "canary" })) else print_report(one) end
    else
      local status = one:json("POST", remote.path({ "reload" }, query)).status
      if flags.json_out then
        shell.json { node = one:url(), status = status }
      else
        shell.out(("%s %s\n"):format(one:url(), SAID[status] or status))
      end
    end
  end
end

return {
  summary = "loads a node's lignum.lua and scripts again", usage = "", args = { 0, 0 }, remote = true, run = run,
  help = "A file with a mistake changes nothing; its errors are said, one a line. A canary judges a share of the live\n"
    .. "messages by the new file, beside the present one, whose decisions stand (doc/testing.md).",
  flags = {
    { "--canary", "SHARE", "does not reload, but begins a canary, with this share of the messages, such as 5%" },
    { "--status", nil, "what the canary has judged otherwise" },
    { "--promote", nil, "reloads, which ends the canary" },
    { "--abort", nil, "ends the canary" },
    { "--all", nil, "all nodes of the cluster, one after another; it ends with the first that refuses" },
  },
}
