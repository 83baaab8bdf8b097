// Products of matrices: the choice of epilogue, and bf16 on processors without bf16 arithmetic.
#include "core/cpu/cpu_backend.h"
#include "core/cpu/onednn.h"
#include "core/error.h"

namespace monge::cpu {
namespace {

Product product_of(const kernel::Matmul& args) {
  Product p;
  p.batch = args.a.rank() == 3 ? args.a.size(0) : 1;
  p.m = args.out.size(-2);
  p.n = args.out.size(-1);
  p.k = args.a.size(args.transpose_a ? -2 : -1);
  p.transpose_a = args.transpose_a;
  p.transpose_b = args.transpose_b;
  p.accumulate = args.accumulate;
  p.has_bias = args.bias.defined();
  p.in = args.a.dtype();
  p.out = args.out.dtype();
  p.bias = args.bias.dtype();
  return p;
}

}  // namespace

Tensor CpuBackend::widened(const Tensor& x) {
  if (!x || x.dtype() == DType::f32) return x;
  Tensor wide = Tensor::empty(x.shape(), DType::f32, device(), Pool::scratch);
  compute(kernel::Copy{x, wide});
  return wide;
}

void CpuBackend::run_product(const Product& p, const Tensor& a, const Tensor& b, const Tensor& bias,
                             const Tensor& out) {
  if (cpu::run_product(p, a.data(), b.data(), bias ? bias.data() : nullptr, out.data())) return;
  // No bf16 arithmetic on this processor: compute in f32 on widened copies.
  require(p.in == DType::bf16, "[matmul] this oneDNN has no f32 product for this processor");
  has_widened_products_ = true;
  Product wide = p;
  wide.in = wide.out = wide.bias = DType::f32;
  const bool narrow_out = out.dtype() != DType::f32;
  const Tensor sum = !narrow_out    ? out
                     : p.accumulate ? widened(out)
                                    : Tensor::empty(out.shape(), DType::f32, device(), Pool::scratch);
  run_product(wide, widened(a), widened(b), widened(bias), sum);
  if (narrow_out) compute(kernel::Copy{sum, out});
}

void CpuBackend::compute(const kernel::Matmul& args) {
  const Product product = product_of(args);
  if (args.out.numel() == 0) return;
  require(product.k > 0, "[matmul] K is 0 on cpu: a {}, b {}", args.a.shape(), args.b.shape());
  // The activation is a pass of its own, whether its input is kept or not: inference and training give the same bits.
  const Tensor& product_out = args.pre_activation ? args.pre_activation : args.out;
  run_product(product, args.a, args.b, args.bias, product_out);
  if (args.activation != Activation::none) {
    compute(kernel::Activate{args.activation, product_out, args.out});
  } else if (args.pre_activation) {
    compute(kernel::Copy{product_out, args.out});
  }
}

}  // namespace monge::cpu
