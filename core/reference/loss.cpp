// Embedding and cross-entropy: the two ends of a language model.
#include <algorithm>
#include <cmath>

#include "core/reference/draw.h"
#include "core/reference/reference_backend.h"

namespace monge {

void ReferenceBackend::compute(const kernel::Embedding& args) {
  const auto V = args.table.size(0), C = args.table.size(1);
  for (std::int64_t n = 0; n < args.ids.numel(); ++n) {
    const std::int32_t id = args.ids.data_as<std::int32_t>()[n];
    double* const row = args.out.data_as<double>() + n * C;
    if (id >= 0 && id < V) {
      std::copy_n(args.table.data_as<double>() + id * C, C, row);
    } else {
      std::fill_n(row, C, 0.0);
    }
  }
}

void ReferenceBackend::compute(const kernel::EmbeddingBackward& args) {
  const auto V = args.dtable.size(0), C = args.dtable.size(1);
  if (!args.accumulate) compute(kernel::Fill{.x = args.dtable});
  for (std::int64_t n = 0; n < args.ids.numel(); ++n) {
    const std::int32_t id = args.ids.data_as<std::int32_t>()[n];
    if (id < 0 || id >= V) continue;
    for (std::int64_t c = 0; c < C; ++c)
      args.dtable.data_as<double>()[id * C + c] += args.dout.data_as<double>()[n * C + c];
  }
}

void ReferenceBackend::compute(const kernel::TargetShare& args) {
  const auto* const first = args.targets.data_as<std::int32_t>();
  const auto counted =
      std::count_if(first, first + args.targets.numel(), [&](std::int32_t t) { return t >= 0 && t < args.vocab; });
  args.share.data_as<double>()[0] = counted > 0 ? 1.0 / static_cast<double>(counted) : 0.0;
}

void ReferenceBackend::compute(const kernel::SampleTargets& args) {
  const auto N = args.logits.shape().rows(), V = args.logits.shape().last();
  for (std::int64_t n = 0; n < N; ++n) {
    std::int32_t& target = args.targets.data_as<std::int32_t>()[n];
    if (target < 0 || target >= V) continue;
    const double* const z = args.logits.data_as<double>() + n * V;
    const double top = *std::max_element(z, z + V);
    double mass = 0.0;
    for (std::int64_t v = 0; v < V; ++v) mass += std::exp(z[v] - top);
    double left = to_unit(word_of(args.random, n)) * mass;
    target = 0;
    while (target < V - 1 && (left -= std::exp(z[target] - top)) >= 0.0) ++target;
  }
}

void ReferenceBackend::compute(const kernel::CrossEntropy& args) {
  const auto N = args.logits.shape().rows(), V = args.logits.shape().last();
  double* const summary = args.summary.data_as<double>();
  if (args.share) {
    summary[1] = args.share.data_as<double>()[0];
  } else {
    compute(kernel::TargetShare{args.targets, V, args.summary.slice(1, 2)});
  }
  double total = 0.0;
  for (std::int64_t n = 0; n < N; ++n) {
    const double* const z = args.logits.data_as<double>() + n * V;
    const std::int32_t target = args.targets.data_as<std::int32_t>()[n];
    const double top = *std::max_element(z, z + V);
    double mass = 0.0;
    for (std::int64_t v = 0; v < V; ++v) mass += std::exp(z[v] - top);
    const double lse = top + std::log(mass);
    const bool counts = target >= 0 && target < V;
    const double loss = counts ? lse - z[target] : 0.0;
    args.lse.data_as<double>()[n] = lse;
    args.losses.data_as<double>()[n] = loss;
    total += loss;
  }
  summary[0] = total * summary[1];
}

void ReferenceBackend::compute(const kernel::CrossEntropyBackward& args) {
  const auto N = args.logits.shape().rows(), V = args.logits.shape().last();
  const double factor = args.dloss.data_as<double>()[0] * args.summary.data_as<double>()[1];
  for (std::int64_t n = 0; n < N; ++n) {
    double* const z = args.logits.data_as<double>() + n * V;
    const std::int32_t target = args.targets.data_as<std::int32_t>()[n];
    const double lse = args.lse.data_as<double>()[n];
    const bool counts = target >= 0 && target < V;
    for (std::int64_t v = 0; v < V; ++v) {
      z[v] = counts ? factor * (std::exp(z[v] - lse) - (v == target ? 1.0 : 0.0)) : 0.0;
    }
  }
}

}  // namespace monge
