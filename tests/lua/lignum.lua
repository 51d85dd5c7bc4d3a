-- The configuration of the broker in which tests/lua runs. Modules beside it (check.lua) can be required.
limits { script_time = 10 }

topic "policy.*" { durability = "os", segment = { messages = 7 } }
topic "closed.*" { auto_create = false }
topic "*" { retain = { messages = 1000000 } }
