// monge train CONFIG [key.path=value ...] [--out DIR] [--resume]
#include <CLI/CLI.hpp>

#include "core/options/yaml.h"
#include "tools/commands.h"
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

/// Every key with type, default, unit and range, as the end of --help.
std::string config_help() {
  train::Config config;
  std::string text = "Keys of CONFIG, with type, default and meaning:\n";
  for (const KeyDescription& key : describe(config)) {
    text += fmt::format("  {} ({})", key.path, key.type);
    if (!key.default_value.empty()) text += fmt::format(" = {}", key.default_value);
    if (!key.unit.empty()) text += fmt::format(" [{}]", key.unit);
    text += fmt::format("\n      {}", key.doc);
    if (!key.range.empty()) text += fmt::format("; {}", key.range);
    if (!key.only_for.empty()) text += fmt::format("; for {}", key.only_for);
    text += "\n";
  }
  return text;
}

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
  command->footer(config_help);
  command->callback([arguments, &exit_code] { exit_code = run(*arguments); });
}

}  // namespace monge::tools
