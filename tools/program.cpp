#include "tools/program.h"

#include <CLI/CLI.hpp>
#include <csignal>
#include <new>

#include "core/options/registry.h"
#include "tools/commands.h"

namespace monge::tools {
namespace {

int fail(ExitCode code, const std::string& message) {
  fmt::print(stderr, "monge: {}\n", message);
  return static_cast<int>(code);
}

/// What to say when no subcommand was understood.
std::string about_subcommands(CLI::App& parser, int argc, char** argv) {
  std::vector<std::string> names;
  for (const CLI::App* subcommand : parser.get_subcommands([](CLI::App*) { return true; })) {
    names.push_back(subcommand->get_name());
  }
  const std::string problem = argc > 1 ? fmt::format("unknown subcommand '{}'", argv[1]) : "a subcommand is needed";
  return fmt::format("{}; allowed: {} (see monge --help)", problem, fmt::join(names, ", "));
}

/// What to say of an exception that no message was made for. A program with kinds of its own has thrown it itself, or
/// has called Monge with what it cannot take.
std::string about_failure(const std::string& what) {
  const std::vector<std::string>& own = RegistryBase::own_kinds();
  if (own.empty()) return fmt::format("internal error: {}; this is a bug in Monge", what);
  return fmt::format(
      "{}\n  This program adds {}: the fault is most likely there (docs/extending.md says what is "
      "asked of each kind).",
      what, fmt::join(own, ", "));
}

}  // namespace

int run(int argc, char** argv) {
  // A write beyond a file size limit then fails like one to a full disk, with a message.
  std::signal(SIGXFSZ, SIG_IGN);
  ExitCode exit_code = ExitCode::done;
  CLI::App parser("Monge trains small transformers described in YAML.", "monge");
  Command program(parser);
  program.require_subcommand();
  add_train(program, exit_code);
  add_sample(program);
  add_eval(program);
  add_info(program);
  add_bench(program);
  add_compare(program, exit_code);
  add_report(program);
  add_tokenize(program);
  add_verify(program);
  try {
    parser.parse(argc, argv);
    return static_cast<int>(exit_code);
  } catch (const CLI::ParseError& e) {
    if (e.get_exit_code() == static_cast<int>(CLI::ExitCodes::Success)) return parser.exit(e);  // --help
    if (parser.get_subcommands().empty()) return fail(ExitCode::wrong_input, about_subcommands(parser, argc, argv));
    return fail(ExitCode::wrong_input, fmt::format("{} (see monge --help)", e.what()));
  } catch (const InputError& e) {
    return fail(ExitCode::wrong_input, e.what());
  } catch (const RunError& e) {
    return fail(ExitCode::run_failed, e.what());
  } catch (const std::bad_alloc&) {
    return fail(ExitCode::run_failed, "out of memory; lower train.batch, model.context or the size of the model");
  } catch (const std::exception& e) {
    return fail(ExitCode::run_failed, about_failure(e.what()));
  }
}

}  // namespace monge::tools
