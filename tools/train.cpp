// monge train CONFIG [key.path=value ...] [--out DIR] [--resume]
#include <CLI/CLI.hpp>

#include "tools/commands.h"
#include "tools/key_help.h"
#include "train/interrupt.h"
#include "train/trainer.h"

namespace monge::tools {
namespace {

struct Arguments {
  std::string config;
  std::vector<std::string> overrides;
  std::string out;
  bool resume = false;
};

ExitCode run(const Arguments& arguments) {
  train::Config config = train::load_config(arguments.config, arguments.overrides);
  if (arguments.resume && arguments.out.empty()) {
    throw InputError("--resume needs --out DIR: the run to continue");
  }
  const auto out =
      arguments.out.empty() ? train::next_run_path(arguments.config) : std::filesystem::path(arguments.out);
  train::Progress progress(stdout);
  const train::Interrupt interrupt;
  train::Trainer trainer(std::move(config), out, arguments.resume, progress);
  const train::Outcome outcome = trainer.run([&interrupt] { return interrupt.requested(); });
  return outcome == train::Outcome::done ? ExitCode::done : ExitCode::interrupted;
}

}  // namespace

void add_train(CLI::App& program, ExitCode& exit_code) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command = program.add_subcommand("train", "Train a model described in YAML");
  command->add_option("config", arguments->config, "YAML file")->required();
  command->add_option("overrides", arguments->overrides, "key.path=value: settings that replace those of the file");
  command->add_option("--out", arguments->out, "Folder of the run (default: runs/<config>-<n>, a new one)");
  command->add_flag("--resume", arguments->resume, "Continue from the newest checkpoint in --out");
  command->footer([] {
    train::Config config;
    return key_help("CONFIG", config);
  });
  command->callback([arguments, &exit_code] { exit_code = run(*arguments); });
}

}  // namespace monge::tools
