#include "train/checkpoint/data_identity.h"

#include <fmt/ranges.h>

#include "core/options/yaml.h"
#include "train/checkpoint/checksum.h"
#include "train/config/config_changes.h"
#include "train/run.h"

namespace monge::train {
namespace {

bool same_content(const Checkpoint& checkpoint, const Config& config, const Dataset& dataset) {
  const std::string& before = checkpoint.state().data;
  if (before.empty() || content_text(config, dataset) == before) return true;
  // The seed orders the training data and the model's length cuts it, and the content of some datasets has both.
  const Config trained = checkpoint.config();
  Config same = config;
  same.train.seed = trained.train.seed;
  same.model = trained.model;
  return content_text(same, *make_dataset(same, &dataset.tokenizer())) == before;
}

}  // namespace

std::string content_text(const Config& config, const Dataset& dataset) {
  return checksum_text(dataset.content(nn::models().make(config.model, dataset.vocab())->batch_fields()));
}

std::string data_difference(const Checkpoint& checkpoint, const Config& config, const Dataset& dataset) {
  const bool same_tokens = dataset.tokenizer().save() == checkpoint.state().tokenizer;
  if (same_tokens && same_content(checkpoint, config, dataset)) return "";
  std::vector<std::string> keys;
  Config before = checkpoint.config(), now = config;
  for (const ConfigChange& change : config_changes(write_yaml(before), write_yaml(now))) {
    if (change.key.starts_with("data.")) keys.push_back(change.str());
  }
  std::string what =
      keys.empty() ? fmt::format("the content has changed, with the same keys under data ({})", dataset.description())
                   : fmt::format("{}", fmt::join(keys, ", "));
  if (!same_tokens) {
    what +=
        fmt::format("; it has another vocabulary ({} tokens) than the checkpoint ({} tokens) or orders it differently",
                    dataset.vocab(), checkpoint.state().vocab);
  }
  return what;
}

}  // namespace monge::train
