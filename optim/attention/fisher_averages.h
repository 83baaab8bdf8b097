// The factors of the attention-local Fisher (nn/attention/fisher.h) for what preconditions by them: measured every few
// steps, in the first forward pass of the step, and averaged.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "nn/attention/attention.h"
#include "optim/rule.h"

namespace monge::optim {

/// F_q ~ query_left[h] (x) query_right, (H, D, D) and (1, C, C); F_k ~ key_left[g] (x) key_right.
enum class FisherFactor : std::uint8_t { query_left, query_right, key_left, key_right };
inline constexpr std::array fisher_factor_names{"query_left", "query_right", "key_left", "key_right"};

/// One tensor for each factor of a layer.
struct FisherTensors {
  std::array<Tensor, 4> of;
  Tensor& operator[](FisherFactor f) { return of[static_cast<std::size_t>(f)]; }
  const Tensor& operator[](FisherFactor f) const { return of[static_cast<std::size_t>(f)]; }
};

/// Shapes of the factors of a layer, heads first.
std::array<Shape, 4> fisher_shapes(const nn::RowMapAttention& layer);

/// Measures some layers, which outlive it, in steps that its owner chooses.
class FisherMeasurement {
 public:
  explicit FisherMeasurement(const std::vector<nn::RowMapAttention*>& layers);
  /// Before the forward passes of a step.
  void begin();
  /// After them, for each layer once: its factors.
  FisherTensors take(std::size_t layer);

 private:
  struct Layer : nn::AttentionObserver {
    nn::RowMapAttention* attention = nullptr;
    FisherTensors measured;
    void observe(const nn::AttentionCall& call) override;
  };
  std::vector<Layer> layers_;
};

/// What YAML says of averages.
struct FisherAveraging {
  std::int64_t every = 10;
  double decay = 0.9;
  void fields(Fields& f);
  void check() const;
};

/// Moving averages of all factors of some layers.
class FisherAverages {
 public:
  /// The averages are zero, in the optimizer's memory.
  FisherAverages(const FisherAveraging& options, const std::vector<nn::RowMapAttention*>& layers, DType dtype,
                 Device device);

  /// Whether step `number` measures; the first one does. Such a step does not repeat others.
  bool measures(std::int64_t number) const { return (number - 1) % options_.every == 0; }
  /// Before the forward passes of step `number`.
  void begin(std::int64_t number);
  /// After the passes of a step that measures.
  void update(const Step& step);

  std::size_t layers() const { return averages_.size(); }
  const FisherTensors& average(std::size_t layer) const { return averages_[layer]; }
  /// By which an average is to be multiplied after the measurement of step `number`, since it started at zero.
  double unbias(std::int64_t number) const;

 private:
  FisherAveraging options_;
  FisherMeasurement measurement_;
  std::vector<FisherTensors> averages_;
};

}  // namespace monge::optim
