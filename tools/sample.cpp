// monge sample RUN_OR_CHECKPOINT [--best] [--prompt TEXT] [--tokens N] [--temperature X] [--top-k K] [--top-p P]
// [--seed S] [--source TEXT [--beams N]]

#include <unistd.h>

#include <algorithm>
#include <optional>

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
  std::string source;
  std::int64_t beams = 0;
  train::SamplingOptions options;
};

void run(const Arguments& arguments) {
  arguments.options.check();
  const train::SavedModel saved = train::load_model(arguments.from, arguments.overrides,
                                                    arguments.best ? train::Which::best : train::Which::newest);
  const train::Run::Turn turn(saved);
  train::TerminalText shown;
  const bool terminal = ::isatty(STDOUT_FILENO) == 1;
  std::optional<std::int32_t> before;  // the last token that was printed
  const auto print = [&](const std::vector<std::int32_t>& tokens) {
    const std::string text = train::text_after(*saved.tokenizer, before, tokens);
    before = tokens.back();
    print_now(terminal ? shown.next(text) : text);
  };
  const std::optional<std::string> source = arguments.source.empty() ? std::nullopt : std::optional(arguments.source);
  const train::Prompt prompt =
      train::make_prompt(*saved.model, *saved.tokenizer, saved.device, arguments.prompt, source);
  // A target fits the context, beside the marks and, in a model of tokens alone, its source.
  const std::int64_t room = saved.model->context() + 1 - std::ssize(prompt.tokens);
  const std::int64_t count = source ? std::min(arguments.tokens, room) : arguments.tokens;
  if (arguments.beams > 0) {
    for (const auto& [tokens, log_probability] :
         train::beam_search(*saved.model, *saved.store, prompt, count, arguments.beams)) {
      std::string text = arguments.prompt + train::text_after(*saved.tokenizer, prompt.tokens.back(), tokens);
      if (text.ends_with('\n')) text.pop_back();
      print_now(fmt::format("{:10.4f}  {}\n", log_probability, terminal ? shown.next(text) : text));
    }
    return;
  }
  if (source) {
    print_now(arguments.prompt);
  } else {
    print(prompt.tokens);
  }
  train::generate(*saved.model, *saved.store, prompt, count, arguments.options, [&](std::int32_t token) {
    if (token != prompt.stop) print({token});
  });
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
  const Option source = command.option(
      "--source", a->source, "Source of a pair, to which the model gives the target; --prompt begins the target");
  command
      .option("--beams", a->beams,
              "Beam search of N beams: what it ends with, the most probable first, with log-probabilities in nats")
      .whole_number(1)
      .needs(source);
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
