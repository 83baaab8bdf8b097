// monge eval RUN_OR_CHECKPOINT [key.path=value ...] [--best] [--json] [--text FILE [--stride N]]
#include <cmath>
#include <nlohmann/json.hpp>

#include "core/json.h"
#include "tools/commands.h"
#include "train/checkpoint/data_identity.h"
#include "train/checkpoint/saved_model.h"
#include "train/console/progress.h"
#include "train/data/text_file.h"
#include "train/data/whole_text.h"
#include "train/evaluate.h"

namespace monge::tools {
namespace {

struct Arguments {
  std::string from;
  std::vector<std::string> overrides;
  bool best = false, json = false;
  std::string text;
  std::int64_t stride = 0;  // 0: the context
};

/// The whole of a text, encoded by the run's tokenizer.
void run_on_text(const Arguments& arguments, const train::SavedModel& saved) {
  for (const nn::BatchField& field : saved.model->batch_fields()) {
    if (field.name == "tokens" || field.name == "targets") continue;
    throw InputError(fmt::format("--text is for models that read nothing but tokens, and {} reads '{}' as well",
                                 saved.config.model.kind, field.name));
  }
  std::string text;
  train::append_text_file(arguments.text, text);
  const std::int64_t context = saved.model->context();
  std::optional<train::WholeText> whole;
  try {
    whole.emplace(saved.tokenizer->encode(text), *saved.tokenizer, context,
                  arguments.stride > 0 ? arguments.stride : context);
  } catch (const InputError& error) {
    throw InputError(fmt::format("--text: {}: {}", arguments.text, error.what()));
  }
  const double loss = train::evaluate(*saved.model, *whole, saved.device, saved.config.train.batch).loss;
  const double nats = loss * static_cast<double>(whole->predicted());
  const double bits_per_byte = nats / std::log(2.0) / static_cast<double>(whole->bytes());
  if (arguments.json) {
    fmt::print("{}\n", json_text({{"checkpoint", saved.checkpoint.string()},
                                  {"step", saved.state.step},
                                  {"tokens", whole->predicted()},
                                  {"bytes", whole->bytes()},
                                  {"loss", loss},
                                  {"bits_per_byte", bits_per_byte},
                                  {"perplexity", std::exp(loss)}}));
    return;
  }
  fmt::print("{} (step {})\n{}: {} tokens predicted, {} bytes\n", saved.checkpoint.string(), saved.state.step,
             arguments.text, whole->predicted(), whole->bytes());
  fmt::print("loss {} nats per token, {:.4f} bits per byte, perplexity {:.4g}\n", train::loss_text(loss), bits_per_byte,
             std::exp(loss));
}

void run(const Arguments& arguments) {
  const train::SavedModel saved = train::load_model(arguments.from, arguments.overrides,
                                                    arguments.best ? train::Which::best : train::Which::newest);
  const train::Run::Turn turn(saved);
  if (!arguments.text.empty()) return run_on_text(arguments, saved);
  const auto dataset = train::data_of(saved);
  const std::string difference = train::data_difference(train::Checkpoint(saved.checkpoint), saved.config, *dataset);
  if (!difference.empty()) {
    fmt::print(stderr, "note: the data is another than that of the run: {}\n", difference);
  }
  const train::Evaluation e = train::evaluate(*saved.model, *dataset, saved.device, saved.config.train.batch);
  if (arguments.json) {
    Json out{{"checkpoint", saved.checkpoint.string()},
             {"step", saved.state.step},
             {"windows", e.windows},
             {"val_loss", e.loss}};
    if (!difference.empty()) out["data_changed"] = difference;
    if (e.optimum) out["optimum"] = *e.optimum;
    if (e.excess()) out["excess_loss"] = *e.excess();
    if (e.accuracy) out["val_accuracy"] = *e.accuracy;
    if (e.exact_match) out["val_exact_match"] = *e.exact_match;
    fmt::print("{}\n", json_text(out));
    return;
  }
  fmt::print("{} (step {})\n", saved.checkpoint.string(), saved.state.step);
  fmt::print("data: {}\n", dataset->description());
  fmt::print("validation loss {} {} over {} windows of {} tokens\n", train::loss_text(e.loss), saved.model->loss_unit(),
             e.windows, saved.model->context());
  if (e.optimum)
    fmt::print("best possible on these windows {:.4f}, excess {}\n", *e.optimum, train::loss_text(*e.excess()));
  if (e.exact_match) {
    fmt::print("{:.2f}% of the answers are right as a whole, {:.2f}% of their tokens\n", 100.0 * *e.exact_match,
               100.0 * *e.accuracy);
  } else if (e.accuracy) {
    fmt::print("{:.2f}% of the answers are right\n", 100.0 * *e.accuracy);
  }
}

}  // namespace

void add_eval(Command& program) {
  auto a = std::make_shared<Arguments>();
  Command command = program.subcommand("eval", "Validation loss of a trained model over a full pass");
  command.option("run", a->from, "Run folder (its newest checkpoint) or one checkpoint").required();
  command.option("overrides", a->overrides, "key.path=value: settings that replace those of the run");
  command.flag("--best", a->best, "The run's checkpoint with the lowest validation loss, instead of its newest");
  command.flag("--json", a->json, "One JSON object instead of text");
  const Option text = command.option("--text", a->text,
                                     "All of this text instead of the validation data, in the tokens of the run: every "
                                     "token but the first is predicted once");
  command
      .option("--stride", a->stride,
              "Tokens that a window predicts beyond those before it: with fewer, each is predicted from more (default: "
              "the context)")
      .whole_number(1)
      .needs(text);
  command.action([a] { run(*a); });
}

}  // namespace monge::tools
