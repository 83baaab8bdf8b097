// Command: a subcommand's arguments and what it does. The parser of the command line behind it, CLI11, costs each file
// that calls it seconds to compile; it is called in command.cpp and program.cpp alone.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace monge::tools {

/// A declared option of a command; each function restricts or describes it further.
class Option {
 public:
  explicit Option(CLI::Option* option) : option_(option) {}

  Option& required();
  /// The help shows the value that the variable has now.
  Option& show_default();
  /// Anything else is refused, with the range.
  Option& whole_number(std::int64_t least);
  /// One of these; anything else is refused, with the list.
  Option& choices(const std::vector<std::string>& allowed);
  /// A list that takes one value each time it is named.
  Option& repeatable();
  /// Refused without, or together with, the other.
  Option& needs(const Option& other);
  Option& excludes(const Option& other);

 private:
  CLI::Option* option_;
};

class Command {
 public:
  /// Its help fits 80 columns.
  explicit Command(CLI::App& app);

  Command subcommand(const std::string& name, const std::string& help);
  /// One of its subcommands must be given.
  void require_subcommand();

  /// A value of its own ("config") or one with a name ("--out"): a number, a text, a path or a list of texts. The
  /// variable must live until the action has run, and keeps its value where none is given.
  template <class Value>
  Option option(const std::string& name, Value& value, const std::string& help);
  /// "--json" sets the variable, "!--no-ops" clears it.
  void flag(const std::string& name, bool& value, const std::string& help);
  /// The end of the help, made when it is asked for.
  void footer(std::function<std::string()> text);
  /// What --help shows instead of everything, unless it is empty. The values of the options are set.
  void help_on(std::function<std::string()> text);
  void action(std::function<void()> run);

 private:
  CLI::App* app_;
};

}  // namespace monge::tools
