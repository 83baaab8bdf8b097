#include "core/reference/reference_backend.h"

namespace monge {

void ReferenceBackend::compute(const kernel::Sum& args) {
  const double* const in = args.x.data_as<double>();
  double* const result = args.out.data_as<double>();
  for (std::int64_t o = 0; o < args.outer; ++o) {
    for (std::int64_t i = 0; i < args.inner; ++i) {
      double total = 0.0;
      for (std::int64_t k = 0; k < args.n; ++k) total += in[(o * args.n + k) * args.inner + i];
      double& target = result[o * args.inner + i];
      target = (args.accumulate ? target : 0.0) + args.factor * total;
    }
  }
}

void ReferenceBackend::compute(const kernel::Repeat& args) {
  const double* const in = args.x.data_as<double>();
  double* const result = args.out.data_as<double>();
  for (std::int64_t o = 0; o < args.outer; ++o) {
    for (std::int64_t k = 0; k < args.n; ++k) {
      for (std::int64_t i = 0; i < args.inner; ++i)
        result[(o * args.n + k) * args.inner + i] = args.factor * in[o * args.inner + i];
    }
  }
}

void ReferenceBackend::compute(const kernel::Dot& args) {
  double total = 0.0;
  for (std::int64_t i = 0; i < args.a.numel(); ++i) total += args.a.data_as<double>()[i] * args.b.data_as<double>()[i];
  *args.out.data_as<double>() = total;
}

}  // namespace monge
