// monge import FOLDER RUN
#include "tools/commands.h"
#include "tools/interop/hugging_face.h"

namespace monge::tools {
namespace {

struct Arguments {
  std::string folder, run;
};

void run(const Arguments& a) {
  import_from_hugging_face(a.folder, a.run);
  fmt::print("{} is a run, {}; it knows no data: give eval data.path=FILE\n", a.folder, a.run);
}

}  // namespace

void add_import(Command& program) {
  auto a = std::make_shared<Arguments>();
  Command command = program.subcommand("import", "Make a run of a model of Hugging Face's transformers");
  command.option("folder", a->folder, "Folder with config.json, model.safetensors and tokenizer.json").required();
  command.option("run", a->run, "Run folder to be made").required();
  command.action([a] { run(*a); });
}

}  // namespace monge::tools
