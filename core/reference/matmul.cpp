#include "core/reference/activation.h"
#include "core/reference/reference_backend.h"

namespace monge {
namespace {

/// One matrix of a batch, read through an optional transpose.
struct Matrix {
  const double* data;
  std::int64_t row_stride, column_stride;

  Matrix(const Tensor& t, bool transpose, std::int64_t batch)
      : data(t.data_as<double>() + batch * t.size(-2) * t.size(-1)),
        row_stride(transpose ? 1 : t.size(-1)),
        column_stride(transpose ? t.size(-1) : 1) {}
  double operator()(std::int64_t i, std::int64_t j) const { return data[i * row_stride + j * column_stride]; }
};

}  // namespace

void ReferenceBackend::compute(const kernel::Matmul& args) {
  const auto batches = args.out.rank() == 3 ? args.out.size(0) : 1;
  const auto rows = args.out.size(-2), columns = args.out.size(-1);
  const auto inner = args.a.size(args.transpose_a ? -2 : -1);
  const double* const bias = args.bias ? args.bias.data_as<double>() : nullptr;
  double* out = args.out.data_as<double>();
  double* before = args.pre_activation ? args.pre_activation.data_as<double>() : nullptr;

  for (std::int64_t batch = 0; batch < batches; ++batch) {
    const Matrix a(args.a, args.transpose_a, batch), b(args.b, args.transpose_b, batch);
    for (std::int64_t i = 0; i < rows; ++i) {
      for (std::int64_t j = 0; j < columns; ++j, ++out) {
        double value = bias != nullptr ? bias[j] : 0.0;
        for (std::int64_t k = 0; k < inner; ++k) value += a(i, k) * b(k, j);
        if (before != nullptr) *before++ = value;
        *out = (args.accumulate ? *out : 0.0) + monge::activate(args.activation, value);
      }
    }
  }
}

}  // namespace monge
