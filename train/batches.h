// Batches: the token arrays of the training steps, made ahead of time on a thread of their own.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

#include "train/data/dataset.h"

namespace monge::train {

/// Inputs and targets of one micro-batch, (B, T) row-major.
struct Batch {
  std::vector<std::int32_t> inputs, targets;
};

/// Micro-batch `index` (from 0) of the training data: a function of the dataset and these numbers alone.
Batch training_batch(const Dataset& dataset, std::uint64_t index, std::int64_t rows, std::int64_t context);

/// The training batches first, first + 1, ... in order.
class BatchQueue {
 public:
  /// The dataset outlives the queue.
  BatchQueue(const Dataset& dataset, std::uint64_t first, std::int64_t rows, std::int64_t context);
  ~BatchQueue();
  BatchQueue(const BatchQueue&) = delete;
  BatchQueue& operator=(const BatchQueue&) = delete;

  /// Waits when the next batch is not ready. Rethrows what the dataset threw.
  Batch next();

 private:
  void produce(std::uint64_t index);

  const Dataset& dataset_;
  const std::int64_t rows_, context_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Batch> ready_;
  std::exception_ptr error_;
  bool stop_ = false;
  std::thread thread_;  // last: starts when everything else is there
};

}  // namespace monge::train
