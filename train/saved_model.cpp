#include "train/saved_model.h"

#include "core/error.h"
#include "core/options/yaml.h"
#include "train/config_changes.h"
#include "train/machine.h"

namespace monge::train {

SavedModel load_model(const std::filesystem::path& run_or_checkpoint, const std::vector<std::string>& overrides) {
  const Checkpoint checkpoint(find_checkpoint(run_or_checkpoint));
  SavedModel saved{.checkpoint = checkpoint.directory(), .state = checkpoint.state()};
  read_yaml_text(saved.state.config, (saved.checkpoint / "state.json").string(), overrides, saved.config);
  for (const ConfigChange& change : config_changes(saved.state.config, write_yaml(saved.config))) {
    if (!change.key.starts_with("model.")) continue;
    throw InputError(fmt::format("a trained model cannot be changed ({})", change.str()));
  }
  use_threads(saved.config.train.threads);
  saved.tokenizer = load_tokenizer(saved.state.tokenizer);
  saved.model = std::make_unique<nn::Gpt>(saved.config.model, saved.state.vocab);
  saved.store = std::make_unique<nn::ParameterStore>(*saved.model, parse_device(saved.config.device),
                                                     precision_of(saved.config), 0, /*trainable=*/false);
  checkpoint.restore(*saved.store);
  return saved;
}

}  // namespace monge::train
