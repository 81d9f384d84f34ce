// ambit completion bash|zsh and ambit man: made from the commands themselves, so they are never
// behind.

#include "app/command.h"
#include "app/version.h"

#include <map>
#include <set>

namespace ambit::app {
namespace {

std::string flags_of(const Command& command) {
  std::string flags;
  for (const OptionSpec& option : command.options) flags += " --" + option.name;
  return flags.empty() ? "--help" : flags.substr(1) + " --help";
}

// First words, then second words, then flags; files everywhere else. zsh reads it by bashcompinit.
std::string script() {
  std::set<std::string> first;
  std::map<std::string, std::string> second;
  std::string flags;
  for (const Command& command : all_commands()) {
    const std::size_t blank = command.name.find(' ');
    first.insert(command.name.substr(0, blank));
    if (blank != std::string::npos) {
      second[command.name.substr(0, blank)] += " " + command.name.substr(blank + 1);
    }
    flags += "    \"" + command.name + "\") flags=\"" + flags_of(command) + "\" ;;\n";
  }
  std::string words;
  for (const std::string& word : first) words += (words.empty() ? "" : " ") + word;
  std::string groups;
  for (const auto& [group, names] : second) {
    groups += "    " + group + ") COMPREPLY=($(compgen -W \"" + names.substr(1) +
              "\" -- \"$word\")); return ;;\n";
  }
  return R"(_ambit() {
  local word="${COMP_WORDS[COMP_CWORD]}" flags=""
  COMPREPLY=()
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W ")" +
         words + R"( version help" -- "$word"))
    return
  fi
  if [ "$COMP_CWORD" -eq 2 ] && [ "${word#-}" = "$word" ]; then
    case "${COMP_WORDS[1]}" in
)" + groups +
         R"(    esac
  fi
  case "${COMP_WORDS[1]} ${COMP_WORDS[2]}" in
)" + flags +
         R"(  esac
  if [ -z "$flags" ]; then
    case "${COMP_WORDS[1]}" in
)" + flags +
         R"(    esac
  fi
  case "$word" in
    -*) COMPREPLY=($(compgen -W "$flags" -- "$word")) ;;
    *) COMPREPLY=($(compgen -f -- "$word")) ;;
  esac
}
complete -o filenames -F _ambit ambit
)";
}

int completion(const Options& options, const Context& /*context*/) {
  const std::string& shell = options.positional()[0];
  if (shell != "bash" && shell != "zsh") {
    return fail("there is completion for bash and zsh, not for \"" + shell + "\""), 2;
  }
  if (shell == "zsh") print("autoload -U +X bashcompinit && bashcompinit\n");
  print(script());
  return 0;
}

// Of a troff line: a point or a quote at its beginning is a request.
std::string escaped(const std::string& text) {
  std::string out = text.starts_with('.') || text.starts_with('\'') ? "\\&" : "";
  for (const char c : text) {
    if (c == '\\')
      out += "\\e";
    else if (c == '-')
      out += "\\-";
    else
      out += c;
  }
  return out;
}

int man(const Options& /*options*/, const Context& /*context*/) {
  print(".TH AMBIT 1 \"\" \"ambit " + std::string(version) + "\" \"User commands\"\n.SH NAME\n" +
        "ambit \\- runs fleets of AI agents inside their bounds\n.SH SYNOPSIS\n.B ambit\n" +
        ".I COMMAND\n[ARGUMENTS]\n.SH COMMANDS\n");
  for (const Command& command : all_commands()) {
    print(".SS ambit " + escaped(command.name) + " " + escaped(command.arguments) + "\n" +
          escaped(command.summary) + ".\n");
    for (const OptionSpec& option : command.options) {
      print(".TP\n.B \\-\\-" + escaped(option.name) +
            (option.placeholder.empty() ? "" : " \\fI" + escaped(option.placeholder) + "\\fR") +
            "\n" + escaped(option.help) + "\n");
    }
  }
  print(
      ".SH EXIT STATUS\n0 done; 1 it failed, one line on standard error says what to do; 2 the "
      "command line is wrong; 4 people must answer first (ambit run \\-\\-park).\n");
  return 0;
}

}  // namespace

Command completion_command() {
  return {"completion",
          "SHELL",
          "print the completion for bash or zsh: source <(ambit completion bash)",
          {},
          1,
          1,
          completion};
}

Command man_command() {
  return {"man", "", "print the manual page: ambit man | man -l -", {}, 0, 0, man};
}

}  // namespace ambit::app
