--- lignum backup: a copy of a running node's messages, groups and producers, as they were at one moment.
---
--- 1. The node says up to where each topic can be read (GET /v1/marks), all at one moment. What the records of
---    groups and topics say is then about what the other topics have below their marks.
--- 2. At once, every file gets a second name in the backup, so that retention takes nothing away meanwhile. If a file
---    has gone in between, all of this is done again.
--- 3. What is not wholly below the mark, or could still be cut off, is replaced by a copy up to the mark.
--- 4. All is read again and checked, and the manifest is written last: a directory without it is no backup.
local core = require "lignum.core"
local copies = require "lignum.topic_copy"
local remote = require "lignum.remote"
local shell = require "lignum.shell"
local system = require "lignum.system"

local ATTEMPTS <const> = 5
local EXDEV <const> = 18

-- The node whose directory this is, by its state.
local function incarnation_of(data)
  local file, why = core.unsafe.open(data .. "/state", "rb")
  if not file then shell.fail(66, "%s is no node's data directory on this host: %s", data, why) end
  local text = file:read("a")
  file:close()
  return text:match("\nincarnation=(%w+)")
end

local function marks_of(node, data)
  local marks = node:json("GET", remote.path { "marks" })
  if marks.incarnation ~= incarnation_of(data) then
    shell.fail(65, "%s is not the data of the node at %s, %s", data, node:url(), marks.node)
  end
  copies.check_topics(marks.topics, node:url())
  return marks
end

-- As copies.files, of the node's own; without files below the topic's first offset, which may be there a while longer.
local function files_of(data, topic)
  local own, small = ("%s/topics/%s"):format(data, topic.name), ("%s/small/%s"):format(data, topic.name)
  local logs, senders = copies.files(own, small)
  while logs and logs[2] and logs[2].first <= topic.first do table.remove(logs, 1) end
  return logs, senders
end

-- Have the files with which the topic began at its marks gone since?
local function begins_later(logs, topic)
  return topic.next > topic.first and (not logs[1] or logs[1].first > topic.first)
end

-- Gives each file of a topic a second name. False: a file has gone meanwhile. What the last try lacks, the check names.
local function take(tree, data, topic, is_last)
  local to, logs, senders = "topics/" .. topic.name, files_of(data, topic)
  if not logs then return topic.next == topic.first end
  if begins_later(logs, topic) and not is_last then return false end
  tree:mkdir(to)
  table.move(senders, 1, #senders, #logs + 1, logs)
  for _, file in ipairs(logs) do
    if file.first <= topic.next then
      local name = to .. "/" .. file.name
      local ok, why, errno = system.link(file.path, tree:path(name))
      if ok then
        tree:note(name)
      elseif errno == EXDEV then
        topic.elsewhere = true           -- another filesystem: everything is copied by `settle`
      elseif errno == 2 then
        return false
      else
        shell.fail(74, "%s: %s", tree:path(name), why)
      end
    end
  end
  return true
end

local function take_all(tree, data, node)
  for attempt = 1, ATTEMPTS do
    local marks, whole = marks_of(node, data), true
    tree:mkdir("topics")
    for _, topic in ipairs(marks.topics) do whole = whole and take(tree, data, topic, attempt == ATTEMPTS) end
    if whole then return marks end
    tree:remove()
    if tree.own then system.mkdir(tree.root) end
  end
  shell.fail(75, "files of the node come and go too fast: try again")
end

-- Replaces what is not wholly below the mark by a copy up to there. Of messages that not every member has, a failover
-- can cut some off, so their files are copied, too.
local function settle(tree, data, topic, progress)
  local to = "topics/" .. topic.name
  local logs, senders
  if topic.elsewhere then
    logs, senders = files_of(data, topic)
  else
    logs, senders = copies.files(tree:path(to))
  end
  if not logs then return end
  for i, file in ipairs(logs) do
    local source = file.path
    local last = logs[i + 1] and logs[i + 1].first or copies.END
    if file.first <= topic.next and (topic.elsewhere or last > math.min(topic.next, topic.peers)) then
      local part = to .. "/part"
      local copy = tree:path(part)
      local next_, sealed = copies.must(copy, system.copy_log(source, file.first, topic.next, copy))
      local name = ("%s/%020d.%s"):format(to, file.first, sealed and "log" or "qwal")
      tree:note(part)
      if not topic.elsewhere then core.unsafe.remove(source) end
      copies.must(tree:path(name), core.unsafe.rename(tree:path(part), tree:path(name)))
      tree:note(name)
      progress(next_ - file.first)
    end
    shell.check_interrupt()
  end
  for _, file in ipairs(topic.elsewhere and senders or {}) do
    if file.first <= topic.next then
      local source = assert(core.unsafe.open(file.path, "rb"))
      tree:write(to .. "/" .. file.name, source:read("a"))
      source:close()
    end
  end
end

local function run(args, flags, node)
  local data, tree, progress = flags.data or "data", copies.tree((args[1]:gsub("(.)/+$", "%1"))), shell.progress()
  marks_of(node, data)
  tree:begin()
  local marks, bytes
  tree:within(function()
    local all, done = 0, 0
    marks, bytes = take_all(tree, data, node), 0
    for _, topic in ipairs(marks.topics) do all = all + topic.next - topic.first end
    for i, topic in ipairs(marks.topics) do
      settle(tree, data, topic, function() progress(i / #marks.topics / 2, "copying " .. topic.name) end)
    end
    for _, topic in ipairs(marks.topics) do
      local ok, why = copies.check(tree:path("topics/" .. topic.name), topic, function(n)
        bytes = bytes + n
        progress(0.5 + done / math.max(all, 1) / 2, "checking " .. topic.name)
      end)
      if not ok and topic.next > topic.first then shell.fail(65, "%s", why) end
      done = done + topic.next - topic.first
      topic.peers, topic.elsewhere = nil, nil
    end
    marks.format, marks.incarnation = 1, nil
    tree:sync()
    tree:write(copies.MANIFEST, core.json.encode(marks) .. "\n")
    tree:sync()
  end)
  progress()
  if flags.json_out then
    return shell.json { directory = tree.root, time = marks.time, topics = #marks.topics, bytes = bytes }
  end
  shell.out(("%s has %d topics, %d bytes, as of %s\n"):format(tree.root, #marks.topics, bytes, marks.time))
end

return {
  summary = "copies a running node's messages, groups and producers", usage = "DIR", args = { 1, 1 }, remote = true,
  run = run,
  help = "Runs on the node's host, as the node's user. Sealed files are linked where DIR is on the same filesystem,\n"
    .. "all else is copied, up to one moment. All is read again and checked; a failure leaves nothing.",
  flags = { { "--data", "DATA", "the node's data directory (default: data)" } },
}
