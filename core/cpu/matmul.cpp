// Products of matrices: the choice of epilogue, and bf16 on processors without bf16 arithmetic.
#include "core/check.h"
#include "core/cpu/kernels.h"
#include "core/cpu/onednn.h"
#include "core/error.h"

namespace monge::cpu {
namespace {

bool widened = false;

Product product_of(const Matmul& args) {
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

Tensor as_f32(const Tensor& x) {
  if (!x || x.dtype() == DType::f32) return x;
  Tensor wide = Tensor::empty(x.shape(), DType::f32, x.device(), Pool::scratch);
  copy(x, wide);
  return wide;
}

void run(const Product& p, const Tensor& a, const Tensor& b, const Tensor& bias, const Tensor& out) {
  if (run_product(p, a.data(), b.data(), bias ? bias.data() : nullptr, out.data())) return;
  // No bf16 arithmetic on this processor: compute in f32 on widened copies.
  require(p.in == DType::bf16, "[matmul] this oneDNN has no f32 product for this processor");
  widened = true;
  Product wide = p;
  wide.in = wide.out = wide.bias = DType::f32;
  const bool narrow_out = out.dtype() != DType::f32;
  const Tensor sum = !narrow_out    ? out
                     : p.accumulate ? as_f32(out)
                                    : Tensor::empty(out.shape(), DType::f32, out.device(), Pool::scratch);
  run(wide, as_f32(a), as_f32(b), as_f32(bias), sum);
  if (narrow_out) copy(sum, out);
}

}  // namespace

bool has_widened_products() { return widened; }

void matmul(const Matmul& args) {
  check::matmul(here, args);
  const Product product = product_of(args);
  if (args.out.numel() == 0) return;
  require(product.k > 0, "[matmul] K is 0 on cpu: a {}, b {}", args.a.shape(), args.b.shape());
  // The activation is a pass of its own, whether its input is kept or not: inference and training give the same bits.
  const Tensor& product_out = args.pre_activation ? args.pre_activation : args.out;
  run(product, args.a, args.b, args.bias, product_out);
  if (args.activation != Activation::none) {
    activation(args.activation, product_out, args.out);
  } else if (args.pre_activation) {
    copy(product_out, args.out);
  }
}

}  // namespace monge::cpu
