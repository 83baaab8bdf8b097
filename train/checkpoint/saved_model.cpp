#include "train/checkpoint/saved_model.h"

#include "core/error.h"
#include "core/options/yaml.h"
#include "train/config/config_changes.h"

namespace monge::train {
namespace {

/// A model can be read at another length unless a parameter has that of training.
void refuse_other_shapes(const nn::Model& trained, const nn::Model& model, const ConfigChange& change) {
  const auto before = trained.parameters(), now = model.parameters();
  for (std::size_t i = 0; i < before.size(); ++i) {
    if (before[i].parameter->shape() == now[i].parameter->shape()) continue;
    throw InputError(
        fmt::format("a trained model cannot be changed ({}): its parameter {} is {} and would be {}; model.position "
                    "rope, alibi, goat or none have none of the length of training",
                    change.str(), before[i].name, before[i].parameter->shape(), now[i].parameter->shape()));
  }
}

}  // namespace

SavedModel load_model(const std::filesystem::path& run_or_checkpoint, const std::vector<std::string>& overrides,
                      Which which) {
  const Checkpoint checkpoint(find_checkpoint(run_or_checkpoint, which));
  const CheckpointState& state = checkpoint.state();
  Config trained = checkpoint.config(), config = checkpoint.config(overrides);
  for (const ConfigChange& change : config_changes(write_yaml(trained), write_yaml(config))) {
    const bool tokenizer = trained.data.kind == config.data.kind && change.key.starts_with("data.tokenizer");
    if (!change.key.starts_with("model.") && !tokenizer) continue;
    if (change.key == "model.context" || change.key == "model.source_context") {
      refuse_other_shapes(*make_model(trained, state.vocab), *make_model(config, state.vocab), change);
      continue;
    }
    throw InputError(fmt::format("a trained model cannot be changed ({})", change.str()));
  }
  SavedModel saved{Run(std::move(config), state.vocab), checkpoint.directory(), state, load_tokenizer(state.tokenizer)};
  checkpoint.restore(*saved.store);
  return saved;
}

std::unique_ptr<Dataset> data_of(const SavedModel& saved) {
  auto dataset = make_dataset(saved.config, saved.tokenizer.get());
  if (dataset->tokenizer().save() != saved.state.tokenizer) {
    throw InputError(
        fmt::format("the data has another vocabulary ({} tokens) than the model ({} tokens) or orders it "
                    "differently; give data with data.path=...",
                    dataset->vocab(), saved.state.vocab));
  }
  return dataset;
}

}  // namespace monge::train
