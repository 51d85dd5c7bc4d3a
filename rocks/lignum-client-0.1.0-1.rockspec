-- Built from this directory: luarocks make lignum-client-0.1.0-1.rockspec
rockspec_format = "3.0"
package = "lignum-client"
version = "0.1.0-1"
source = {
  url = ".",
}
description = {
  summary = "A client of the Lignum message log: publish, read, tail",
  license = "MIT",
}
dependencies = {
  "lua >= 5.3",
  "luasocket >= 3.0",
  "dkjson >= 2.5",
}
build = {
  type = "builtin",
  modules = {
    lignum_client = "lignum_client.lua",
  },
}
