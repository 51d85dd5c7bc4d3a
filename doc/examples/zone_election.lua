-- Nodes of the spare site lead only when no node of the main site is there. Names begin with the site: main-1, spare-1.
local MAIN <const> = "main"

local function site(name) return name:match("^(%a+)%-") end

function may_lead(state)
  if site(state.name) == MAIN then return true end
  for _, other in ipairs(state.nodes) do
    if site(other.name) == MAIN then return false end
  end
  return true
end
