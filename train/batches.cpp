#include "train/batches.h"

#include "core/profile/profile.h"

namespace monge::train {
namespace {

constexpr std::size_t batches_ahead = 4;

}  // namespace

HostBatch make_batch(const std::vector<nn::BatchField>& fields, std::int64_t rows,
                     const std::function<void(std::int64_t row, const Row& out)>& write) {
  std::vector<std::vector<std::int32_t>> values;
  for (const nn::BatchField& field : fields) values.emplace_back(static_cast<std::size_t>(rows * field.length));
  for (std::int64_t row = 0; row < rows; ++row) {
    Row out;
    for (std::size_t i = 0; i < fields.size(); ++i) {
      const auto length = static_cast<std::size_t>(fields[i].length);
      out.add(fields[i].name, std::span(values[i]).subspan(static_cast<std::size_t>(row) * length, length));
    }
    write(row, out);
  }
  HostBatch batch;
  for (std::size_t i = 0; i < fields.size(); ++i) batch.add(fields[i].name, std::move(values[i]));
  return batch;
}

HostBatch training_batch(const Dataset& dataset, const std::vector<nn::BatchField>& fields, std::uint64_t index,
                         std::int64_t rows) {
  const profile::Span span("make batch");
  const std::uint64_t first = index * static_cast<std::uint64_t>(rows);
  return make_batch(fields, rows, [&](std::int64_t row, const Row& out) {
    dataset.train_sequence(first + static_cast<std::uint64_t>(row), out);
  });
}

BatchQueue::BatchQueue(const Dataset& dataset, std::vector<nn::BatchField> fields, std::uint64_t first,
                       std::int64_t rows)
    : dataset_(dataset), fields_(std::move(fields)), rows_(rows), thread_([this, first] { produce(first); }) {}

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
      HostBatch batch = training_batch(dataset_, fields_, index, rows_);
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

HostBatch BatchQueue::next() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return error_ != nullptr || !ready_.empty(); });
  if (ready_.empty()) std::rethrow_exception(error_);
  HostBatch batch = std::move(ready_.front());
  ready_.pop_front();
  changed_.notify_all();
  return batch;
}

}  // namespace monge::train
