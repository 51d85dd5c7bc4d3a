--- lignum completion: scripts with which shells complete commands, verbs and flags; made from the commands' tables.
local command = require "lignum.command"
local shell = require "lignum.shell"

-- What may follow: { { path = "topic ls", words = {...}, flags = {...} }... }; the path of all commands is "".
local function places()
  local list, names = {}, {}
  local function flags_of(described, parent)
    local words = { "--help" }
    for _, flag in ipairs(command.flags_of(described, parent)) do words[#words + 1] = flag[1] end
    return words
  end
  for _, c in ipairs(command.all()) do
    names[#names + 1] = c.name
    local verbs = {}
    for _, verb in ipairs(c.verbs or {}) do
      verbs[#verbs + 1] = verb.name
      list[#list + 1] = { path = c.name .. " " .. verb.name, words = flags_of(verb, c), about = verb.summary }
    end
    list[#list + 1] = { path = c.name, words = c.verbs and verbs or flags_of(c), about = c.summary }
  end
  table.insert(list, 1, { path = "", words = names })
  return list
end

local function cases(list, format)
  local out = {}
  for _, place in ipairs(list) do out[#out + 1] = format:format(place.path, table.concat(place.words, " ")) end
  return table.concat(out)
end

local SHELLS <const> = {}

function SHELLS.bash(list)
  return "_lignum_words() {\n  case \"$1\" in\n" .. cases(list, "  \"%s\") words=\"%s\" ;;\n") .. [[
  *) return 1 ;;
  esac
}
_lignum() {
  local path="" word words
  for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    case "$word" in -*) ;; *) [ "${path#* }" = "$path" ] && path="${path:+$path }$word" ;; esac
  done
  _lignum_words "$path" || _lignum_words "${path%% *}"
  COMPREPLY=($(compgen -W "$words" -- "${COMP_WORDS[COMP_CWORD]}"))
}
complete -o default -F _lignum lignum
]]
end

function SHELLS.zsh(list)
  return "#compdef lignum\nautoload -U +X bashcompinit && bashcompinit\n" .. SHELLS.bash(list)
end

function SHELLS.fish(list)
  local out = {}
  for _, place in ipairs(list) do
    local first, second = place.path:match("^(%S*) ?(%S*)$")
    local condition = first == "" and "__fish_use_subcommand" or "__fish_seen_subcommand_from " .. first
    if second ~= "" then condition = condition .. "; and __fish_seen_subcommand_from " .. second end
    for _, word in ipairs(place.words) do
      local long, short = word:match("^%-%-(.*)"), word:match("^%-(%w)$")
      local what = long and "-l " .. long or short and "-s " .. short or "-f -a " .. word
      out[#out + 1] = ("complete -c lignum -n '%s' %s\n"):format(condition, what)
    end
  end
  return table.concat(out)
end

return {
  summary = "prints a script with which a shell completes", usage = "bash|zsh|fish", args = { 1, 1 }, flags = {},
  help = "For bash: lignum completion bash > /etc/bash_completion.d/lignum",
  run = function(args)
    local make = SHELLS[args[1]] or shell.fail(64, "%s: there are bash, zsh and fish", args[1])
    shell.out(make(places()))
  end,
}
