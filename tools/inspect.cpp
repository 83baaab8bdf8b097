// monge inspect RUN_OR_CHECKPOINT [--prompt TEXT] [--source TEXT] [--tokens N] [--best] [--out FILE.html] [--json]
#include "tools/inspect/inspection.h"

#include <filesystem>

#include "tools/commands.h"
#include "train/folder/output_file.h"

namespace monge::tools {
namespace {

struct Arguments {
  std::string from, prompt, source, out = "attention.html";
  std::vector<std::string> overrides;
  std::int64_t tokens = 64;
  bool best = false, json = false;
};

void run(const Arguments& arguments) {
  std::optional<train::OutputFile> page;
  if (!arguments.json) page.emplace("--out", arguments.out);
  train::SavedModel saved = train::load_model(arguments.from, arguments.overrides,
                                              arguments.best ? train::Which::best : train::Which::newest);
  const train::Run::Turn turn(saved);
  const Inspection inspection =
      inspect(saved, {.prompt = arguments.prompt,
                      .source = arguments.source.empty() ? std::nullopt : std::optional(arguments.source),
                      .most = arguments.tokens});
  if (arguments.json) {
    fmt::print("{}\n", json_text(to_json(inspection)));
    return;
  }
  page->write(page_html(inspection));
  fmt::print("{}\n", std::filesystem::absolute(arguments.out).string());
}

}  // namespace

void add_inspect(Command& program) {
  auto a = std::make_shared<Arguments>();
  Command command = program.subcommand("inspect", "Show what the attention of a trained model does with a text");
  command.option("run", a->from, "Run folder (its newest checkpoint) or one checkpoint").required();
  command.option("overrides", a->overrides, "key.path=value: settings that replace those of the run");
  command.option("--prompt", a->prompt, "The text (default: the first validation window)");
  command.option("--source", a->source, "Source of a pair, of which --prompt is the target");
  command.option("--tokens", a->tokens, "The longest text").show_default().whole_number(2);
  command.flag("--best", a->best, "The run's checkpoint with the lowest validation loss, instead of its newest");
  command.option("--out", a->out, "The page, one HTML file for a browser").show_default();
  command.flag("--json", a->json, "The numbers as one JSON object instead of a page");
  command.action([a] { run(*a); });
}

}  // namespace monge::tools
