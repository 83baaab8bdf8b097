// Matrix products with bias and activation: what cuBLASLt does not do in its epilogue is one more pass.
#include "core/cuda/activation.h"
#include "core/cuda/cuda_backend.h"
#include "core/cuda/pack.h"
#include "core/cuda/products/products.h"

namespace monge::MONGE_GPU {
namespace {

/// z = x + bias (if any); pre = z (if wanted); out = f(z). x may be pre or out. Rows have C elements, a multiple of W.
template <int W, class T, class To, class F>
__global__ void epilogue_kernel(const To* x, const T* bias, To* pre, To* out, std::int64_t n, std::int64_t C, F f) {
  for_each_pack<W>(n, [&](std::int64_t i, int count) {
    Pack<W> z = load<W>(x + i, count);
    if (bias != nullptr) z = each<W>([](float u, float b) { return u + b; }, z, load<W>(bias + i % C, count));
    if (pre != nullptr) store<W>(pre + i, count, z);
    store<W>(out + i, count, each<W>(f, z));
  });
}

void apply_epilogue(Stream stream, const Tensor& x, const Tensor& bias, const Tensor& pre, Activation activation,
                    const Tensor& out) {
  const auto C = out.shape().last();
  visit_epilogue(activation, [&](auto f) {
    visit_float(bias ? bias.dtype() : out.dtype(), [&](auto type) {
      visit_float(out.dtype(), [&](auto out_type) {
        using T = typename decltype(type)::type;
        using To = typename decltype(out_type)::type;
        visit_width<To>(aligned_to({&x, &bias, &pre, &out}, 16 / sizeof(To), C), [&](auto width) {
          launch(epilogue_kernel<width, T, To, decltype(f)>, elementwise_grid(out.numel(), width), elementwise_block, 0,
                 stream, x.data_as<To>(), bias ? bias.data_as<T>() : nullptr, pre ? pre.data_as<To>() : nullptr,
                 out.data_as<To>(), out.numel(), C, f);
        });
      });
    });
  });
}

Product product_of(const kernel::Matmul& args) {
  Product p;
  p.a = args.a.data();
  p.b = args.b.data();
  p.out = args.out.data();
  p.type = args.a.dtype();
  p.out_type = args.out.dtype();
  p.transpose_a = args.transpose_a;
  p.transpose_b = args.transpose_b;
  p.m = args.out.size(-2);
  p.n = args.out.size(-1);
  p.k = args.a.size(args.transpose_a ? -2 : -1);
  p.lda = args.a.size(-1);
  p.ldb = args.b.size(-1);
  p.ldout = p.n;
  if (args.out.rank() == 3) {
    p.batch = args.out.size(0);
    p.stride_a = p.m * p.k;
    p.stride_b = p.k * p.n;
    p.stride_out = p.m * p.n;
  }
  p.beta = args.accumulate ? 1.0f : 0.0f;
  return p;
}

}  // namespace

void CudaBackend::compute(const kernel::Matmul& args) {
  if (args.out.numel() == 0) return;
  if (!is_epilogue(args.activation)) {
    kernel::Matmul sums = args;
    sums.activation = Activation::none;
    sums.pre_activation = {};
    if (args.pre_activation) sums.out = args.pre_activation;
    compute(sums);
    return compute(kernel::Activate{.function = args.activation, .x = sums.out, .y = args.out});
  }
  const bool activates = args.activation != Activation::none;
  const Product plain = product_of(args);
  if (plain.k == 0) throw std::invalid_argument("[matmul] the inner size K is 0");
  if (!args.bias && !activates && !args.pre_activation) return products_->run(plain);

  // Everything in the product; else product and bias, then the activation; else one pass for all that is left.
  const auto separately = [&] {
    apply_epilogue(runtime_.stream(), args.out, args.bias, args.pre_activation, args.activation, args.out);
  };
  if (args.activation == Activation::gelu_tanh) {
    Product whole = plain;
    whole.epilogue = Epilogue::gelu_tanh;
    whole.bias = args.bias ? args.bias.data() : nullptr;
    whole.pre_activation = args.pre_activation ? args.pre_activation.data() : nullptr;
    if (products_->fuses(whole, separately)) return products_->run(whole);
  }
  if (args.bias) {
    const Tensor& sums = args.pre_activation ? args.pre_activation : args.out;
    Product biased = plain;
    biased.epilogue = Epilogue::bias;
    biased.bias = args.bias.data();
    biased.out = sums.data();
    if (products_->fuses(biased, separately)) {
      products_->run(biased);
      if (activates || args.pre_activation) {
        apply_epilogue(runtime_.stream(), sums, {}, {}, args.activation, args.out);
      }
      return;
    }
  }
  products_->run(plain);
  separately();
}

}  // namespace monge::MONGE_GPU
