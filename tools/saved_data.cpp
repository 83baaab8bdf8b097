#include "tools/saved_data.h"

#include "core/error.h"

namespace monge::tools {

std::unique_ptr<train::Dataset> data_of(const train::SavedModel& saved) {
  const train::Config& config = saved.config;
  auto dataset = train::datasets().make(
      config.data, {.context = config.model.context, .seed = static_cast<std::uint64_t>(config.train.seed)});
  if (dataset->tokenizer().save() != saved.state.tokenizer) {
    throw InputError(
        fmt::format("the data has another vocabulary ({} tokens) than the model ({} tokens) or orders it "
                    "differently; give data with data.path=...",
                    dataset->vocab(), saved.state.vocab));
  }
  return dataset;
}

}  // namespace monge::tools
