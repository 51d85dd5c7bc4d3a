--- lignum doctor: what is wrong with the nodes of a cluster, since when, and what to do.
local core = require "lignum.core"
local remote = require "lignum.remote"
local shell = require "lignum.shell"

local json = core.json

local RANK <const> = { critical = 1, warning = 2 }

-- What one node says, or that it does not.
local function ask(node)
  local answer, why, code = node:try("GET", remote.path { "health" }, { timeout = 10 })
  if answer and answer.status < 300 then
    local report = json.decode(answer.body)
    for _, p in ipairs(report.problems) do p.node = report.node end
    return report.problems
  end
  if code == "interrupted" then shell.fail(130) end
  if answer and answer.status ~= 503 then remote.refuse(answer) end
  local problem = answer and remote.problem(answer) or { detail = why }
  return { {
    code = "no_answer", severity = "critical", node = node.name or node:url(),
    what = ("%s does not say how it is: %s"):format(node:url(), problem.detail),
    cure = "look whether the process runs, at its log, and at the network in between",
  } }
end

local function run(_, flags, node)
  local problems = json.array {}
  for _, one in ipairs(node:members()) do
    local found = ask(one)
    table.move(found, 1, #found, #problems + 1, problems)
  end
  table.sort(problems, function(a, b)
    if a.severity ~= b.severity then return (RANK[a.severity] or 3) < (RANK[b.severity] or 3) end
    return a.node .. a.code < b.node .. b.code
  end)
  if flags.json_out then
    shell.json { problems = problems }
  else
    for _, p in ipairs(problems) do
      shell.out(shell.plain(("%s: %s%s: %s%s\n    %s"):format(p.severity, p.node, p.subject and " " .. p.subject or "",
        p.what, p.since and " (since " .. p.since .. ")" or "", p.cure)) .. "\n")
    end
    if #problems == 0 then shell.out("nothing is wrong\n") end
  end
  return #problems > 0 and 1 or 0
end

return {
  summary = "says what is wrong with the nodes, since when, and the cure", usage = "", args = { 0, 0 }, remote = true,
  run = run, help = "Asks all nodes of the cluster. Exits with 1 when something is wrong.", flags = {},
}
