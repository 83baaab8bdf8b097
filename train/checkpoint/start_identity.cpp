#include "train/checkpoint/start_identity.h"

#include <fmt/format.h>

#include "train/batches.h"
#include "train/checkpoint/checksum.h"
#include "train/run.h"

namespace monge::train {
namespace {

template <class T>
std::string checksum_of(const std::vector<T>& values) {
  return checksum_text(checksum({reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)}));
}

}  // namespace

StartIdentity start_identity(const Run& run) {
  std::string weights;
  for (const auto& entry : run.store->entries()) {
    weights += fmt::format("{} {} {}\n", entry.name, entry.shape, checksum_of(run.store->value(entry).values()));
  }
  constexpr std::int64_t sequences = 64;
  std::string batches = fmt::format("{} a step\n", run.config.train.batch * run.config.train.accumulate);
  const HostBatch first = training_batch(*run.dataset, run.model->batch_fields(), 0, sequences);
  for (const auto& [name, values] : first) batches += fmt::format("{} {}\n", name, checksum_of(values));
  for (const auto& [name, values] : first.reals) batches += fmt::format("{} {}\n", name, checksum_of(values));
  return {.weights = checksum_text(checksum(weights)), .batches = checksum_text(checksum(batches))};
}

}  // namespace monge::train
