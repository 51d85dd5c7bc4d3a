local function state(name, ...)
  local nodes = {}
  for i, other in ipairs { name, ... } do nodes[i] = { name = other } end
  return { name = name, nodes = nodes }
end

test("a node of the main site may always lead", function()
  assert(may_lead(state("main-1", "main-2", "spare-1")))
  assert(may_lead(state "main-1"))
end)

test("a spare one leads only without them", function()
  assert.equal(may_lead(state("spare-1", "main-2")), false)
  assert(may_lead(state("spare-1", "spare-2")))
end)
