// monge export RUN_OR_CHECKPOINT FOLDER [--to hf] [--dtype float32|bfloat16] [--best]
#include "tools/commands.h"
#include "tools/interop/hugging_face.h"

namespace monge::tools {
namespace {

struct Arguments {
  std::string from, folder, to = "hf", dtype = "float32";
  bool best = false;
};

void run(const Arguments& a) {
  const train::SavedModel saved = train::load_model(a.from, {}, a.best ? train::Which::best : train::Which::newest);
  export_to_hugging_face(saved, a.folder, a.dtype == "bfloat16" ? DType::bf16 : DType::f32);
  fmt::print("{} (step {}) is in {}, for transformers\n", saved.checkpoint.string(), saved.state.step, a.folder);
}

}  // namespace

void add_export(Command& program) {
  auto a = std::make_shared<Arguments>();
  Command command = program.subcommand("export", "Write a trained model as a folder that other programs read");
  command.option("run", a->from, "Run folder (its newest checkpoint) or one checkpoint").required();
  command.option("folder", a->folder, "Folder to be made").required();
  command.option("--to", a->to, "hf: config.json, model.safetensors and tokenizer.json, as transformers reads them")
      .choices({"hf"});
  command.option("--dtype", a->dtype, "Of the weights").choices({"float32", "bfloat16"});
  command.flag("--best", a->best, "The run's checkpoint with the lowest validation loss, instead of its newest");
  command.action([a] { run(*a); });
}

}  // namespace monge::tools
