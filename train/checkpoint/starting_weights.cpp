#include "train/checkpoint/starting_weights.h"

#include <algorithm>
#include <set>

#include "core/backend.h"
#include "core/error.h"

namespace monge::train {

StartingWeights::StartingWeights(const std::filesystem::path& run_or_checkpoint)
    : checkpoint_(find_checkpoint(run_or_checkpoint)), tokenizer_(load_tokenizer(checkpoint_.state().tokenizer)) {
  checkpoint_.verify();
}

namespace {

/// Whether `tokenizer` gives the ids that `before` gave, as far as that had tokens.
bool continues(const Tokenizer& tokenizer, const Tokenizer& before) {
  if (tokenizer.save() == before.save()) return true;
  if (tokenizer.kind() != before.kind() || tokenizer.vocab() < before.vocab()) return false;
  for (std::int32_t id = 0; id < before.vocab(); ++id) {
    if (tokenizer.decode({id}) != before.decode({id})) return false;
  }
  return true;
}

}  // namespace

void StartingWeights::load(nn::ParameterStore& store, const Tokenizer& tokenizer) const {
  const std::string from = checkpoint_.directory().string();
  const auto refuse = [&](const std::string& why) { throw InputError(fmt::format("train.from: {}: {}", from, why)); };
  if (!continues(tokenizer, *tokenizer_)) {
    refuse(
        fmt::format("its tokens ({} of {}) are not those of the data ({} of {}), so its weights mean nothing for them",
                    tokenizer_->vocab(), tokenizer_->kind(), tokenizer.vocab(), tokenizer.kind()));
  }
  const SafeTensors file(checkpoint_.directory() / "model.safetensors");
  std::set<std::string> names;
  for (const auto& entry : store.entries()) {
    names.insert(entry.name);
    if (!file.contains(entry.name)) refuse(fmt::format("it has no parameter {}, and this model does", entry.name));
    const Tensor to = store.value(entry);
    const Shape &before = file.entry(entry.name).shape, &now = to.shape();
    if (before == now) {
      file.read(entry.name, to);
      continue;
    }
    const bool by_token = before.rank() == 2 && now.rank() == 2 && before[1] == now[1] &&
                          before[0] == checkpoint_.state().vocab && now[0] == tokenizer.vocab();
    if (!by_token) {
      refuse(
          fmt::format("its parameter {} is {} and that of this model {}; leave out of model: what differs, and it is "
                      "that of the run",
                      entry.name, before, now));
    }
    const std::int64_t rows = std::min(before[0], now[0]);
    const Tensor all = file.tensor(entry.name, to.device(), Pool::scratch);
    to.backend().copy({.from = all.slice(0, rows).to(to.dtype(), to.device()), .to = to.slice(0, rows)});
  }
  for (const auto& [name, entry] : file.entries()) {
    if (!names.contains(name)) refuse(fmt::format("it has a parameter {}, and this model does not", name));
  }
  store.refresh_copies();
}

}  // namespace monge::train
