-- The configuration of the broker in which tests/lua runs. The tests can require modules of this directory (check.lua).
limits { script_time = 10 }

topic "policy.*" { durability = "os", segment = { messages = 7 } }
topic "closed.*" { auto_create = false }
topic "*" { retain = { messages = 1000000 } }
