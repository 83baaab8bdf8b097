#include "core/check.h"
#include "core/reference/draw.h"
#include "core/reference/reference_backend.h"

namespace monge {

void ReferenceBackend::uniform(const Tensor& x, double low, double high, const Random& random) {
  check::uniform(device(), x, random);
  double* const values = x.data_as<double>();
  for (std::int64_t i = 0; i < x.numel(); ++i) values[i] = low + (high - low) * to_unit(word_of(random, i));
}

void ReferenceBackend::normal(const Tensor& x, double mean, double stddev, const Random& random) {
  check::normal(device(), x, random);
  double* const values = x.data_as<double>();
  for (std::int64_t i = 0; i < x.numel(); ++i) {
    const std::int64_t even = i - i % 2;
    const auto pair = normal_pair(word_of(random, even), word_of(random, even + 1));
    values[i] = mean + stddev * pair[static_cast<std::size_t>(i - even)];
  }
}

void ReferenceBackend::dropout(const Tensor& x, const Tensor& y, double p, const Random& random) {
  check::dropout(device(), x, y, p, random);
  const double* const in = x.data_as<double>();
  double* const out = y.data_as<double>();
  for (std::int64_t i = 0; i < x.numel(); ++i) out[i] = in[i] * dropout_factor(random, p, i);
}

}  // namespace monge
