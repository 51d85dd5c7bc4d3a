--- lignum reload: a node loads its lignum.lua and scripts again.
local remote = require "lignum.remote"
local shell = require "lignum.shell"

local function run(_, flags, node)
  for _, one in ipairs(flags.all and node:members() or { node }) do
    one:request("POST", remote.path { "reload" })
    if flags.json_out then
      shell.json { node = one:url(), status = "reloaded" }
    else
      shell.out(one:url() .. " has reloaded\n")
    end
  end
end

return {
  summary = "loads a node's lignum.lua and scripts again", usage = "", args = { 0, 0 }, remote = true, run = run,
  help = "A file with a mistake changes nothing; its errors are said, one a line.",
  flags = { { "--all", nil, "all nodes of the cluster, one after another; it ends with the first that refuses" } },
}
