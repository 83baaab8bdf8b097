// monge sample RUN_OR_CHECKPOINT [--best] [--prompt TEXT] [--tokens N] [--temperature X] [--top-k K] [--top-p P]
// [--seed S]

#include <unistd.h>

#include "tools/commands.h"
#include "tools/program/output.h"
#include "train/checkpoint/saved_model.h"
#include "train/console/progress.h"
#include "train/sampler.h"

namespace monge::tools {
namespace {

struct Arguments {
  std::string from;
  std::vector<std::string> overrides;
  bool best = false;
  std::string prompt;
  std::int64_t tokens = 500;
  train::SamplingOptions options;
};

void run(const Arguments& arguments) {
  arguments.options.check();
  const train::SavedModel saved = train::load_model(arguments.from, arguments.overrides,
                                                    arguments.best ? train::Which::best : train::Which::newest);
  const train::Run::Turn turn(saved);
  train::TerminalText shown;
  const bool terminal = ::isatty(STDOUT_FILENO) == 1;
  const auto print = [&](const std::vector<std::int32_t>& tokens) {
    const std::string text = saved.tokenizer->decode(tokens);
    print_now(terminal ? shown.next(text) : text);
  };
  const std::vector<std::int32_t> prompt = train::prompt_tokens(*saved.tokenizer, arguments.prompt);
  print(prompt);
  train::generate(*saved.model, *saved.store, prompt, arguments.tokens, arguments.options,
                  [&print](std::int32_t token) { print({token}); });
  print_now("\n");
}

}  // namespace

void add_sample(Command& program) {
  auto a = std::make_shared<Arguments>();
  Command command = program.subcommand("sample", "Generate text with a trained model");
  command.option("run", a->from, "Run folder (its newest checkpoint) or one checkpoint").required();
  command.option("overrides", a->overrides, "key.path=value: settings that replace those of the run");
  command.flag("--best", a->best, "The run's checkpoint with the lowest validation loss, instead of its newest");
  command.option("--prompt", a->prompt, "Text to continue (default: a line break)");
  command.option("--tokens", a->tokens, "How many tokens to generate").show_default().whole_number(0);
  command.option("--temperature", a->options.temperature, "Divides the logits; 0: always the most probable token")
      .show_default();
  command.option("--top-k", a->options.top_k, "Only the k most probable tokens; 0: all").show_default();
  command.option("--top-p", a->options.top_p, "Only the most probable tokens that reach this probability together")
      .show_default();
  command.option("--seed", a->options.seed, "Of the random numbers").show_default();
  command.action([a] { run(*a); });
}

}  // namespace monge::tools
