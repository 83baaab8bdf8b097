// Matrix products for the emulated device: plain loops on its memory, sums in double.
#include "core/cuda/products.h"

#include <cmath>
#include <vector>

#include "core/error.h"

namespace monge::simt {
namespace {

double read(const void* data, DType type, std::int64_t i) {
  return type == DType::bf16 ? static_cast<float>(static_cast<const bf16*>(data)[i])
                             : static_cast<const float*>(data)[i];
}
void write(void* data, DType type, std::int64_t i, double value) {
  if (type == DType::bf16) {
    static_cast<bf16*>(data)[i] = bf16(static_cast<float>(value));
  } else {
    static_cast<float*>(data)[i] = static_cast<float>(value);
  }
}

double gelu_tanh(double x) { return 0.5 * x * (1.0 + std::tanh(std::sqrt(2.0 / M_PI) * (x + 0.044715 * x * x * x))); }

/// A (rows, columns) matrix, possibly stored transposed, as doubles.
std::vector<double> gather(const void* data, DType type, std::int64_t offset, std::int64_t rows, std::int64_t columns,
                           std::int64_t ld, bool transposed) {
  std::vector<double> out(static_cast<std::size_t>(rows * columns));
  for (std::int64_t i = 0; i < rows; ++i) {
    for (std::int64_t j = 0; j < columns; ++j) {
      out[i * columns + j] = read(data, type, offset + (transposed ? j * ld + i : i * ld + j));
    }
  }
  return out;
}

void store(const Product& p, std::int64_t at, std::int64_t column, double sum) {
  double x = p.alpha * sum;
  if (p.beta != 0.0f) x += read(p.out, p.out_type, at);
  if (p.bias != nullptr) x += read(p.bias, p.type, column);
  if (p.pre_activation != nullptr) write(p.pre_activation, p.out_type, at, x);
  write(p.out, p.out_type, at, p.epilogue == Epilogue::gelu_tanh ? gelu_tanh(x) : x);
}

void multiply(const Product& p) {
  std::vector<double> sums(static_cast<std::size_t>(p.n));
  for (std::int64_t batch = 0; batch < p.batch; ++batch) {
    const auto a = gather(p.a, p.type, batch * p.stride_a, p.m, p.k, p.lda, p.transpose_a);
    const auto b = gather(p.b, p.type, batch * p.stride_b, p.k, p.n, p.ldb, p.transpose_b);
    for (std::int64_t i = 0; i < p.m; ++i) {
      std::fill(sums.begin(), sums.end(), 0.0);
      for (std::int64_t l = 0; l < p.k; ++l) {
        const double factor = a[i * p.k + l];
        for (std::int64_t j = 0; j < p.n; ++j) sums[j] += factor * b[l * p.n + j];
      }
      for (std::int64_t j = 0; j < p.n; ++j) store(p, batch * p.stride_out + i * p.ldout + j, j, sums[j]);
    }
  }
}

}  // namespace

struct Products::Implementation {
  Runtime& runtime;
  ProductOptions options;
};

Products::Products(Runtime& runtime, MemoryPools&, const ProductOptions& options)
    : implementation_(std::make_unique<Implementation>(Implementation{runtime, options})) {}
Products::~Products() = default;

void Products::configure(const ProductOptions& options) { implementation_->options = options; }

void Products::run(const Product& p) {
  check(p);
  implementation_->runtime.stream()->enqueue([p] { multiply(p); });
}

// A bias is fused and gelu_tanh is not, so that a backend's tests meet both ways; when tuning it is the other way
// round, after what is separate has run as often as a timing would run it.
bool Products::fuses(const Product& p, const std::function<void()>& separate) {
  check(p);
  if (p.epilogue == Epilogue::none) return true;
  if (!implementation_->options.tune) return p.epilogue == Epilogue::bias;
  run({.a = p.a,
       .b = p.b,
       .out = p.out,
       .type = p.type,
       .out_type = p.out_type,
       .transpose_a = p.transpose_a,
       .transpose_b = p.transpose_b,
       .m = p.m,
       .n = p.n,
       .k = p.k,
       .lda = p.lda,
       .ldb = p.ldb,
       .ldout = p.ldout,
       .batch = p.batch,
       .stride_a = p.stride_a,
       .stride_b = p.stride_b,
       .stride_out = p.stride_out,
       .alpha = p.alpha});
  for (int i = 0; i < 2; ++i) separate();
  return p.epilogue == Epilogue::gelu_tanh;
}

std::string Products::version() const { return "emulated products"; }
std::string Products::note() const { return {}; }

}  // namespace monge::simt
