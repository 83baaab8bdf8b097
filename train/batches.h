// Batches: the fields of the training steps, made ahead of time on a thread of their own.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include "nn/batch.h"
#include "train/data/dataset.h"

namespace monge::train {

/// A micro-batch in the host's memory: each field (B, length) or (B, length, width), row-major.
struct HostBatch : nn::PerField<std::vector<std::int32_t>> {
  using PerField::PerField;
  nn::PerField<std::vector<float>> reals;

  /// The field to a tensor of its shape, converted where the device has other floats.
  void copy(const nn::BatchField& field, const Tensor& to) const;
  /// All of them on a device.
  nn::Batch on(Device device, const std::vector<nn::BatchField>& fields) const;
};

/// The batch of `rows` sequences that `write` fills one by one.
HostBatch make_batch(const std::vector<nn::BatchField>& fields, std::int64_t rows,
                     const std::function<void(std::int64_t row, const Row& out)>& write);

/// Micro-batch `index` (from 0) of the training data: its sequences index * rows, index * rows + 1, ...
HostBatch training_batch(const Dataset& dataset, const std::vector<nn::BatchField>& fields, std::uint64_t index,
                         std::int64_t rows);

/// The training batches first, first + 1, ... in order.
class BatchQueue {
 public:
  /// The dataset outlives the queue.
  BatchQueue(const Dataset& dataset, std::vector<nn::BatchField> fields, std::uint64_t first, std::int64_t rows);
  ~BatchQueue();
  BatchQueue(const BatchQueue&) = delete;
  BatchQueue& operator=(const BatchQueue&) = delete;

  /// Waits when the next batch is not ready. Rethrows what the dataset threw.
  HostBatch next();

 private:
  void produce(std::uint64_t index);

  const Dataset& dataset_;
  const std::vector<nn::BatchField> fields_;
  const std::int64_t rows_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<HostBatch> ready_;
  std::exception_ptr error_;
  bool stop_ = false;
  std::thread thread_;  // last: starts when everything else is there
};

}  // namespace monge::train
