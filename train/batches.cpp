#include "train/batches.h"

#include "core/profile/profile.h"

namespace monge::train {
namespace {

constexpr std::size_t batches_ahead = 4;

}  // namespace

Batch training_batch(const Dataset& dataset, std::uint64_t index, std::int64_t rows, std::int64_t context) {
  const profile::Span span("make batch");
  const auto T = static_cast<std::size_t>(context);
  Batch batch;
  batch.inputs.resize(static_cast<std::size_t>(rows) * T);
  batch.targets.resize(batch.inputs.size());
  for (std::int64_t row = 0; row < rows; ++row) {
    const std::size_t at = static_cast<std::size_t>(row) * T;
    dataset.train_sequence(index, row, std::span(batch.inputs).subspan(at, T), std::span(batch.targets).subspan(at, T));
  }
  return batch;
}

BatchQueue::BatchQueue(const Dataset& dataset, std::uint64_t first, std::int64_t rows, std::int64_t context)
    : dataset_(dataset), rows_(rows), context_(context), thread_([this, first] { produce(first); }) {}

BatchQueue::~BatchQueue() {
  {
    std::lock_guard lock(mutex_);
    stop_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void BatchQueue::produce(std::uint64_t index) {
  try {
    for (;; ++index) {
      Batch batch = training_batch(dataset_, index, rows_, context_);
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [this] { return stop_ || ready_.size() < batches_ahead; });
      if (stop_) return;
      ready_.push_back(std::move(batch));
      changed_.notify_all();
    }
  } catch (...) {
    std::lock_guard lock(mutex_);
    error_ = std::current_exception();
    changed_.notify_all();
  }
}

Batch BatchQueue::next() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return error_ != nullptr || !ready_.empty(); });
  if (ready_.empty()) std::rethrow_exception(error_);
  Batch batch = std::move(ready_.front());
  ready_.pop_front();
  changed_.notify_all();
  return batch;
}

}  // namespace monge::train
