#include "core/reference/draw.h"
#include "core/reference/reference_backend.h"

namespace monge {

void ReferenceBackend::compute(const kernel::Uniform& args) {
  double* const values = args.x.data_as<double>();
  for (std::int64_t i = 0; i < args.x.numel(); ++i)
    values[i] = args.low + (args.high - args.low) * to_unit(word_of(args.random, i));
}

void ReferenceBackend::compute(const kernel::Normal& args) {
  double* const values = args.x.data_as<double>();
  for (std::int64_t i = 0; i < args.x.numel(); ++i) {
    const std::int64_t even = i - i % 2;
    const auto pair = normal_pair(word_of(args.random, even), word_of(args.random, even + 1));
    values[i] = args.mean + args.stddev * pair[static_cast<std::size_t>(i - even)];
  }
}

void ReferenceBackend::compute(const kernel::Dropout& args) {
  const double* const in = args.x.data_as<double>();
  double* const out = args.y.data_as<double>();
  for (std::int64_t i = 0; i < args.x.numel(); ++i) out[i] = in[i] * dropout_factor(args.random, args.p, i);
}

}  // namespace monge
