--- The commands that C runs, described for help, completion and the manual. cli.c reads their flags.
local SCRIPTS <const> = { "--scripts", "DIR", "where Lignum's scripts are" }
local CONFIG <const> = { "-c", "FILE", "the configuration (default: ./lignum.lua if there is one)" }
local SET <const> = { "--set", "KEY.PATH=VALUE", "a key of lignum.lua; wins over the file", many = true }

return {
  {
    name = "serve", summary = "runs a node", usage = "[FLAG...]",
    flags = {
      CONFIG, { "--listen", "HOST:PORT", "listen" }, { "--data", "DIR", "store.path" },
      { "--name", "NAME", "node.name" }, { "--console", "PATH", "console.path" },
      { "--consul", "HOST:PORT", "cluster.consul.address" },
      { "--replication", "HOST:PORT", "cluster.replication.listen" }, SET, SCRIPTS,
    },
    help = "Flags win over the file; most are other names of its keys.",
  },
  {
    name = "check", summary = "checks the configuration", usage = "[-c FILE]", flags = { CONFIG, SET, SCRIPTS },
    help = "Prints one error per line.",
  },
  {
    name = "test", summary = "runs the tests of lignum.lua", usage = "[FILE|DIR]...",
    flags = {
      { "-c", "FILE", "what is tested (--config)" },
      { "--only", "WORD", "only tests whose file or name contains the word" },
      { "-o", "FORMAT", "text (the default), tap or junit" },
      { "--coverage", nil, "tells which lines have run; --coverage=FILE writes it in the form of LCOV, too" },
      { "--watch", nil, "again after each change of a .lua file in the folders of the tests" },
      { "--jobs", "N", "tests at once (default: as many as processors)" },
      { "--timeout", "SECONDS", "of real time, for one test (default: 10)" },
      { "-v", nil, "prints all tests, and what their nodes log" }, SET, SCRIPTS,
    },
    help = "Without FILE: the *_test.lua beside lignum.lua. X_test.lua tests X.lua, if there is one in its folder, or\n"
      .. "else the lignum.lua there. Each test has a node of its own, alone, with topics in memory and a clock that\n"
      .. "moves when everything waits (doc/testing.md). Exits with 1 when a test has failed, with 64 when a file\n"
      .. "cannot be loaded.",
  },
  {
    name = "verify", summary = "reads every record of a stopped node's data", usage = "DATA", flags = {},
    help = "Exits with 1 on damage.",
  },
  {
    name = "dump", summary = "prints messages of a stopped node's data", usage = "DATA TOPIC [FROM [TO]]", flags = {},
    help = "Messages [FROM, TO) as JSON, one per line.",
  },
  {
    name = "secret", summary = "prints a secret for cluster.replication.secret_file", usage = "new", flags = {},
  },
}
