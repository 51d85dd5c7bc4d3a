-- Built from this directory: luarocks make lignum-client-0.1.0-1.rockspec
rockspec_format = "3.0"
package = "lignum-client"
version = "0.1.0-1"
source = {
  url = ".",
}
description = {
  summary = "A client of the Lignum message log: publish, read, follow, groups",
  license = "MIT",
}
dependencies = {
  "lua >= 5.1",
  "luasocket >= 3.0",   -- neither is needed in OpenResty
  "luasec >= 1.2",
  "dkjson >= 2.5",
}
build = {
  type = "builtin",
  modules = {
    lignum_client = "lignum_client.lua",
    ["lignum_client.transport"] = "lignum_client/transport.lua",
  },
}
