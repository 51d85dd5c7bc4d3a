-- Generates doc/api.md from scripts/lignum/api.lua:   lua5.4 tests/doc.lua > doc/api.md
package.path = "scripts/?.lua;" .. package.path
local help = require "lignum.help"
io.write(help.markdown(help.entries()))
