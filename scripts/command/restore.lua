--- lignum restore: a data directory from a backup. The next start gives the node an identity of its own.
local core = require "lignum.core"
local copies = require "lignum.topic_copy"
local shell = require "lignum.shell"
local system = require "lignum.system"

local function manifest_of(folder)
  local path = folder .. "/" .. copies.MANIFEST
  local file, why = core.unsafe.open(path, "rb")
  if not file then shell.fail(66, "%s is no complete backup: %s", folder, why) end
  local manifest = core.json.decode(file:read("a"))
  file:close()
  if type(manifest) ~= "table" or type(manifest.topics) ~= "table" then shell.fail(65, "%s is damaged", path) end
  if manifest.format ~= 1 then shell.fail(65, "%s is of another format, %s", path, tostring(manifest.format)) end
  copies.check_topics(manifest.topics, path)
  return manifest
end

local function copy_topic(tree, from, topic, progress)
  local to = "topics/" .. topic.name
  local logs, senders = copies.files(from)
  if not logs then return end
  tree:mkdir(to)
  for _, file in ipairs(logs) do
    local copy = tree:path(to .. "/" .. file.name)
    local next_, why = system.copy_log(from .. "/" .. file.name, file.first, copies.END, copy)
    if not next_ then shell.fail(why:find("damaged", 1, true) and 65 or 74, "%s", why) end
    tree:note(to .. "/" .. file.name)
    progress(next_ - file.first)
    shell.check_interrupt()
  end
  for _, file in ipairs(senders) do
    local source = assert(core.unsafe.open(from .. "/" .. file.name, "rb"))
    tree:write(to .. "/" .. file.name, source:read("a"))
    source:close()
  end
end

local function run(args, flags)
  local from = args[1]:gsub("(.)/+$", "%1")
  local data = flags.data or shell.fail(64, "--data DATA says where to")
  local manifest, tree, progress = manifest_of(from), copies.tree((data:gsub("(.)/+$", "%1"))), shell.progress()
  local all, done = 0, 0
  for _, topic in ipairs(manifest.topics) do all = all + topic.next - topic.first end
  tree:begin()
  tree:within(function()
    tree:mkdir("topics")
    for _, topic in ipairs(manifest.topics) do
      copy_topic(tree, from .. "/topics/" .. topic.name, topic, function(messages)
        done = done + messages
        progress(done / math.max(all, 1), "restoring " .. topic.name)
      end)
      local ok, why = copies.check(tree:path("topics/" .. topic.name), topic, function() end)
      if not ok and topic.next > topic.first then shell.fail(65, "the backup is damaged: %s", why) end
    end
    tree:write("lock", "")
    tree:sync()
  end)
  progress()
  if flags.json_out then return shell.json { data = data, time = manifest.time, topics = #manifest.topics } end
  shell.out(("%s has %d topics, as of %s\n"):format(data, #manifest.topics, manifest.time))
end

return {
  summary = "makes a data directory from a backup", usage = "DIR --data DATA", args = { 1, 1 }, run = run,
  help = "DATA must be missing or empty. All is checked. For a cluster, restore one node, start it with Consul, let\n"
    .. "it lead (lignum cluster adopt), and start the others with empty directories.",
  flags = { { "--data", "DATA", "the data directory to make" } },
}
