#include "tools/program/program.h"

#include <omp.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <csignal>
#include <exception>

#include "tools/commands.h"
#include "tools/program/build_info.h"
#include "tools/program/failure.h"
#include "tools/program/output.h"
#include "tools/program/processors.h"
#include "train/console/progress.h"

namespace monge::tools {
namespace {

int fail(const Failure& failure) {
  const std::string text = failure.text();
  std::fputs((::isatty(STDERR_FILENO) == 1 ? train::wrapped(text) : text).c_str(), stderr);
  return static_cast<int>(failure.code);
}

int wrong_input(const std::string& message) { return fail({ExitCode::wrong_input, message}); }

/// What to say when no subcommand was understood.
std::string about_subcommands(CLI::App& parser, int argc, char** argv) {
  std::vector<std::string> names;
  for (const CLI::App* subcommand : parser.get_subcommands([](CLI::App*) { return true; })) {
    names.push_back(subcommand->get_name());
  }
  const std::string problem = argc > 1 ? fmt::format("unknown subcommand '{}'", argv[1]) : "a subcommand is needed";
  return fmt::format("{}; allowed: {} (see monge --help)", problem, fmt::join(names, ", "));
}

/// The innermost subcommand that was named, with those around it: "monge verify attention".
std::string command_of(const CLI::App& parser) {
  std::string name = parser.get_name();
  for (const CLI::App* at = &parser; !at->get_subcommands().empty();) {
    at = at->get_subcommands().front();
    name += " " + at->get_name();
  }
  return name;
}

int print_help(CLI::App& parser, const CLI::ParseError& asked) {
  try {
    const int code = parser.exit(asked);
    finish_output();
    return code;
  } catch (const std::exception&) {
    return fail(failure_of(std::current_exception()));
  }
}

}  // namespace

int run(int argc, char** argv) {
  hold_standard_streams();
  omp_set_num_threads(default_threads());
  // A write beyond a file size limit then fails like one to a full disk, with a message.
  std::signal(SIGXFSZ, SIG_IGN);
  ExitCode exit_code = ExitCode::done;
  CLI::App parser("Monge trains small transformers described in YAML.", "monge");
  parser.set_version_flag(
      "--version", [] { return build_text(); }, "What this program was built from");
  Command program(parser);
  program.require_subcommand();
  add_train(program, exit_code);
  add_sample(program);
  add_eval(program);
  add_export(program);
  add_inspect(program);
  add_branch(program);
  add_import(program);
  add_info(program);
  add_bench(program);
  add_compare(program, exit_code);
  add_report(program);
  add_tokenize(program);
  add_verify(program);
  try {
    parser.parse(argc, argv);
    finish_output();
    return static_cast<int>(exit_code);
  } catch (const CLI::ParseError& e) {
    if (e.get_exit_code() == static_cast<int>(CLI::ExitCodes::Success)) return print_help(parser, e);
    if (parser.get_subcommands().empty()) return wrong_input(about_subcommands(parser, argc, argv));
    return wrong_input(fmt::format("{} (see {} --help)", e.what(), command_of(parser)));
  } catch (const std::exception&) {
    return fail(failure_of(std::current_exception()));
  }
}

}  // namespace monge::tools
