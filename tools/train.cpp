// monge train [CONFIG] [key.path=value ...] [--out DIR] [--resume] [--profile FILE]

#include "tools/commands.h"
#include "tools/program/failure.h"
#include "tools/program/key_help.h"
#include "tools/program/output.h"
#include "train/console/interrupt.h"
#include "train/trainer.h"

namespace fs = std::filesystem;

namespace monge::tools {
namespace {

struct Arguments {
  std::string config;
  std::vector<std::string> overrides;
  std::string out;
  bool resume = false;
  train::ProfileOptions profile;  // no file: none
};

std::optional<train::StepProfile> profile_of(const Arguments& arguments, const train::Config& config) {
  if (arguments.profile.file.empty()) return std::nullopt;
  if (parse_device(config.device).kind == DeviceKind::cuda) {
    throw InputError("--profile: kernel calls return before a GPU has done them; use nsys profile monge train ...");
  }
  std::vector<fs::path> reads = train::data_files(config);
  reads.emplace_back(arguments.config);
  return std::optional<train::StepProfile>(std::in_place, arguments.profile, reads);
}

/// What is missing on the command line of a resume is in its folder.
Arguments with_config(Arguments arguments) {
  if (!arguments.resume) {
    if (arguments.config.empty()) throw InputError("train: name a YAML file (see monge train --help)");
    return arguments;
  }
  if (arguments.out.empty()) throw InputError("--resume needs --out DIR: the run to continue");
  const bool is_override = arguments.config.find('=') != std::string::npos && !fs::exists(arguments.config);
  if (is_override) arguments.overrides.insert(arguments.overrides.begin(), arguments.config);
  if (is_override || arguments.config.empty()) arguments.config = fs::path(arguments.out) / "config.yaml";
  return arguments;
}

ExitCode run(const Arguments& given) {
  const Arguments arguments = with_config(given);
  train::Config config = train::load_config(arguments.config, arguments.overrides);
  std::optional<train::StepProfile> steps = profile_of(arguments, config);
  keep_running_without_readers();
  const std::shared_ptr<train::RunFolder> folder =
      arguments.out.empty() ? train::RunFolder::next(arguments.config)
                            : std::make_unique<train::RunFolder>(arguments.out, arguments.resume);
  train::Progress progress(stdout);
  const train::Interrupt interrupt;
  try {
    train::Trainer trainer(std::move(config), folder, progress);
    const train::RunEnd end = trainer.run([&interrupt] { return interrupt.requested(); }, steps ? &*steps : nullptr);
    return end == train::RunEnd::finished ? ExitCode::done : ExitCode::interrupted;
  } catch (const train::Interrupted&) {
    throw;
  } catch (const std::exception&) {
    folder->record_error(failure_of(std::current_exception()).text());
    throw;
  }
}

}  // namespace

void add_train(Command& program, ExitCode& exit_code) {
  auto arguments = std::make_shared<Arguments>();
  Command command = program.subcommand("train", "Train a model described in YAML");
  command.option("config", arguments->config, "YAML file; with --resume, by default that in --out");
  command.option("overrides", arguments->overrides, "key.path=value: settings that replace those of the file");
  command.option("--out", arguments->out, "Folder of the run (default: runs/<config>-<n>, a new one)");
  command.flag("--resume", arguments->resume, "Continue from the newest checkpoint in --out");
  const Option profile =
      command.option("--profile", arguments->profile.file,
                     "Write a trace of some steps to this file: for ui.perfetto.dev or chrome://tracing");
  command.option("--profile-first", arguments->profile.first, "The first step of the trace; --resume counts anew")
      .show_default()
      .whole_number(1)
      .needs(profile);
  command.option("--profile-steps", arguments->profile.steps, "How many steps it holds")
      .show_default()
      .whole_number(1)
      .needs(profile);
  add_key_help(
      command, "CONFIG", [] { return std::make_unique<train::Config>(); },
      [arguments] { return arguments->overrides.empty() ? arguments->config : arguments->overrides.back(); });
  command.action([arguments, &exit_code] { exit_code = run(*arguments); });
}

}  // namespace monge::tools
