// The argument checks: every refusal names the kernel, the reason, the tensors and the device; what the contract allows
// passes.
#include "core/kernel/call.h"

#include <gtest/gtest.h>

#include <functional>
#include <string>

#include "support/compare.h"

namespace monge {
namespace {

using test::cpu;
using test::reference;

Backend& backend() { return backend_of(reference); }
Tensor f64(const Shape& shape) { return Tensor::zeros(shape, DType::f64, reference); }
Tensor i32(const Shape& shape) { return Tensor::zeros(shape, DType::i32, reference); }

/// The message of the std::invalid_argument that `call` throws; empty when it does not throw.
std::string refusal(const std::function<void()>& call) {
  try {
    call();
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
  return {};
}

void expect_refused(const std::string& part, const std::function<void()>& call) {
  const std::string message = refusal(call);
  EXPECT_NE(message.find(part), std::string::npos) << "expected '" << part << "' in '" << message << "'";
}

TEST(Check, AMessageTellsTheWholeCall) {
  EXPECT_EQ(refusal([] {
              backend().matmul({.a = f64({2, 3}), .b = f64({4, 5}), .out = f64({2, 5})});
            }),
            "[matmul] K is 3 in a and 4 in b: a (2, 3) f64, b (4, 5) f64, out (2, 5) f64 on reference");
}

TEST(Check, MissingTensorsAreNamed) {
  expect_refused("[softmax] y is missing", [] { backend().softmax({.x = f64({2, 3}), .y = {}}); });
  expect_refused("[norm] mean is missing", [] {
    backend().norm({.x = f64({2, 3}), .y = f64({2, 3}), .rstd = f64({2})});
  });
  expect_refused("[norm] sum is missing", [] {
    backend().norm(
        {.kind = NormKind::rms, .x = f64({2, 3}), .residual = f64({2, 3}), .y = f64({2, 3}), .rstd = f64({2})});
  });
}

TEST(Check, TheReferenceDeviceComputesInDoubleOnly) {
  const Tensor f32 = Tensor::empty({2}, DType::f32, reference), bf16 = Tensor::empty({2}, DType::bf16, reference);
  expect_refused("[add] a must be f64", [&] { backend().add({.a = f32, .b = f32, .out = f32}); });
  expect_refused("[scale] x must be f64", [&] { backend().scale({.x = i32({2}), .factor = 1.0, .out = f64({2})}); });
  expect_refused("[fill] x has a dtype this device lacks", [&] { backend().fill({.x = bf16}); });
  expect_refused("[adamw] copy must be bf16, or none on reference", [&] {
    backend().update({.rule = AdamWRule{},
                      .param = f64({2}),
                      .grad = f64({2}),
                      .states = {f64({2}), f64({2})},
                      .copy = bf16,
                      .control = f64({Control::size})});
  });
}

TEST(Check, OtherDevicesComputeInOneStorageWithF32Statistics) {
  const auto make = [](const Shape& shape, DType dtype) { return Tensor::empty(shape, dtype, cpu); };
  const auto f32 = [&](const Shape& shape) { return make(shape, DType::f32); };
  const auto bf16 = [&](const Shape& shape) { return make(shape, DType::bf16); };
  const auto matmul = [&](const Tensor& a, const Tensor& b, const Tensor& out) {
    return refusal([&] { check(kernel::Matmul{.a = a, .b = b, .out = out}, cpu); });
  };
  EXPECT_EQ(matmul(bf16({2, 3}), bf16({3, 4}), bf16({2, 4})), "");
  EXPECT_EQ(matmul(bf16({2, 3}), bf16({3, 4}), f32({2, 4})), "");
  EXPECT_EQ(matmul(f32({2, 3}), f32({3, 4}), f32({2, 4})), "");
  EXPECT_NE(matmul(f32({2, 3}), bf16({3, 4}), f32({2, 4})).find("b must be f32"), std::string::npos);
  EXPECT_NE(matmul(f32({2, 3}), f32({3, 4}), bf16({2, 4})).find("out must be f32"), std::string::npos);
  EXPECT_NE(matmul(f64({2, 3}), f64({3, 4}), f64({2, 4})).find("a is on another device"), std::string::npos);

  kernel::Norm norm{.kind = NormKind::rms, .x = bf16({2, 3}), .y = bf16({2, 3}), .rstd = f32({2})};
  EXPECT_EQ(refusal([&] { check(norm, cpu); }), "");
  norm.rstd = bf16({2});
  expect_refused("rstd must be f32", [&] { check(norm, cpu); });
  EXPECT_EQ(refusal([&] { check(kernel::Copy{bf16({4}), f32({2, 2})}, cpu); }), "");
  expect_refused("floats and integers", [&] { check(kernel::Copy{make({4}, DType::i32), f32({4})}, cpu); });
}

TEST(Check, Elementwise) {
  expect_refused("b must have the shape of a", [] {
    backend().add({.a = f64({2, 3}), .b = f64({2}), .out = f64({2, 3})});
  });
  expect_refused("b must have the shape of a", [] {
    backend().mul({.a = f64({3}), .b = f64({2, 3}), .out = f64({3})});
  });
  expect_refused("out has the wrong shape", [] {
    backend().add({.a = f64({2, 3}), .b = f64({3}), .out = f64({3, 2})});
  });
  expect_refused("[add_scaled] y has", [] { backend().add_scaled({.x = f64({2}), .y = f64({3})}); });
  expect_refused("[activate_backward] dy has", [] {
    backend().activate_backward({.function = Activation::gelu, .x = f64({2}), .dy = f64({3}), .dx = f64({2})});
  });
  expect_refused("p must be in [0, 1), got 1", [] { backend().dropout({.x = f64({2}), .y = f64({2}), .p = 1.0}); });
  expect_refused("random.step must have 1 elements", [] {
    backend().uniform({.x = f64({2}), .random = {0, 0, i32({2})}});
  });
}

TEST(Check, Overlap) {
  const Tensor x = f64({4, 4});
  expect_refused("out overlaps", [&] { backend().matmul({.a = x, .b = f64({4, 4}), .out = x}); });
  expect_refused("y overlaps", [&] { backend().softmax({.x = x, .y = x}); });
  expect_refused("out overlaps an input without being the same tensor",
                 [&] { backend().scale({.x = x.slice(0, 3), .factor = 2.0, .out = x.slice(1, 4)}); });
  expect_refused("out overlaps", [&] { backend().add({.a = f64({4, 4}), .b = x, .out = x}); });
  EXPECT_EQ(refusal([&] { backend().scale({.x = x, .factor = 2.0, .out = x}); }), "");
  EXPECT_EQ(refusal([&] { backend().scale({.x = x.slice(0, 2), .factor = 2.0, .out = x.slice(2, 4)}); }), "");
}

TEST(Check, Products) {
  expect_refused("K is 2 in a (transposed) and 3 in b", [] {
    backend().matmul({.a = f64({2, 3}), .transpose_a = true, .b = f64({3, 5}), .out = f64({3, 5})});
  });
  expect_refused("out must be (2, 5)", [] {
    backend().matmul({.a = f64({2, 3}), .b = f64({3, 5}), .out = f64({5, 2})});
  });
  expect_refused("same number of dimensions", [] {
    backend().matmul({.a = f64({2, 2, 3}), .b = f64({3, 5}), .out = f64({2, 2, 5})});
  });
  expect_refused("share their first dimension", [] {
    backend().matmul({.a = f64({2, 2, 3}), .b = f64({1, 3, 5}), .out = f64({2, 2, 5})});
  });
  expect_refused("bias must be (5)", [] {
    backend().matmul({.a = f64({2, 3}), .b = f64({3, 5}), .out = f64({2, 5}), .bias = f64({2})});
  });
  expect_refused("accumulate goes with neither", [] {
    backend().matmul({.a = f64({2, 3}), .b = f64({3, 5}), .out = f64({2, 5}), .accumulate = true, .bias = f64({5})});
  });
}

TEST(Check, ShapesAndReductions) {
  expect_refused("(2, 3) of from for (3, 2) of to", [] {
    backend().strided_copy({.from = f64({2, 3}), .to = f64({3, 2})});
  });
  expect_refused("to overlaps an input", [] {
    const Tensor x = f64({4, 3});
    backend().strided_copy({.from = x.slice(0, 2), .to = StridedView(x).slice(0, 1, 3)});
  });
  expect_refused("x does not read as (2, 3, 2)",
                 [] { backend().sum({.x = f64({6}), .outer = 2, .n = 3, .inner = 2, .out = f64({4})}); });
  expect_refused("out must have 2 elements",
                 [] { backend().sum({.x = f64({6}), .outer = 2, .n = 3, .out = f64({3})}); });
  expect_refused("x must have 2 elements",
                 [] { backend().repeat({.x = f64({3}), .outer = 2, .n = 3, .out = f64({6})}); });
}

TEST(Check, Rows) {
  const auto norm = [](const Tensor& y, const Tensor& gain, const Tensor& rstd) {
    backend().norm({.x = f64({2, 3}), .gain = gain, .y = y, .mean = f64({2}), .rstd = rstd});
  };
  expect_refused("y must be (2, 3)", [&] { norm(f64({3, 2}), {}, f64({2})); });
  expect_refused("gain must have 3 elements", [&] { norm(f64({2, 3}), f64({2}), f64({2})); });
  expect_refused("rstd must have 2 elements", [&] { norm(f64({2, 3}), {}, f64({3})); });
  expect_refused("rms has no mean", [] {
    backend().norm({.kind = NormKind::rms, .x = f64({2, 3}), .y = f64({2, 3}), .mean = f64({2}), .rstd = f64({2})});
  });
  expect_refused("dbias must have 3 elements", [] {
    backend().norm_backward({.x = f64({2, 3}),
                             .mean = f64({2}),
                             .rstd = f64({2}),
                             .dy = f64({2, 3}),
                             .dx = f64({2, 3}),
                             .dbias = f64({2})});
  });
  const auto rope = [](const Shape& shape, std::int64_t heads, std::int64_t head_dim) {
    backend().rope({.x = f64(shape), .y = f64(shape), .heads = heads, .head_dim = head_dim});
  };
  expect_refused("x must be (B, T, W)", [&] { rope({2, 8}, 2, 4); });
  expect_refused("head_dim must be even", [&] { rope({1, 2, 9}, 3, 3); });
  expect_refused("3 heads of 4 do not fit", [&] { rope({1, 2, 8}, 3, 4); });
}

TEST(Check, EmbeddingAndLoss) {
  expect_refused("[embedding] ids must be i32", [] {
    backend().embedding({.ids = f64({2}), .table = f64({5, 3}), .out = f64({2, 3})});
  });
  expect_refused("out must be (2, 3)", [] {
    backend().embedding({.ids = i32({2}), .table = f64({5, 3}), .out = f64({3, 2})});
  });
  expect_refused("dout must be (2, 3)", [] {
    backend().embedding_backward({.ids = i32({2}), .dout = f64({2, 4}), .dtable = f64({5, 3}), .accumulate = true});
  });
  expect_refused("targets must have 4 elements", [] {
    backend().cross_entropy({f64({2, 2, 7}), i32({2}), f64({4}), f64({4}), f64({2})});
  });
  expect_refused("dloss must have 1 elements", [] {
    backend().cross_entropy_backward({f64({2, 7}), i32({2}), f64({2}), f64({2}), f64({2})});
  });
}

/// A valid call: B = 2, T = 3, S = 3, H = 4, G = 2, D = 2.
kernel::Attention attention() {
  kernel::Attention a;
  a.batch = 2;
  a.queries = a.keys = 3;
  a.heads = 4;
  a.kv_heads = 2;
  a.head_dim = 2;
  a.q = {f64({2, 3, 8}), 0, 8, 24};
  a.k = {f64({2, 3, 4}), 0, 4, 12};
  a.v = {f64({2, 3, 4}), 0, 4, 12};
  a.out = {f64({2, 3, 8}), 0, 8, 24};
  a.row_stat = f64({2, 4, 3});
  return a;
}

TEST(Check, Attention) {
  EXPECT_EQ(refusal([] { backend().attention(attention()); }), "");
  const auto refused = [](const std::string& part, const std::function<void(kernel::Attention&)>& spoil) {
    kernel::Attention a = attention();
    spoil(a);
    expect_refused(part, [&] { backend().attention(a); });
  };
  refused("4 heads of 2 cannot share 3", [](kernel::Attention& a) { a.kv_heads = 3; });
  refused("q reads up to element 49 of 48", [](kernel::Attention& a) { a.q.offset = 1; });
  refused("k reads up to element 30 of 24", [](kernel::Attention& a) { a.k.batch_stride = 18; });
  refused("v has offset 0, token stride 3", [](kernel::Attention& a) { a.v.token_stride = 3; });
  refused("prior.slopes must have 4 elements", [](kernel::Attention& a) { a.prior.slopes = f64({2}); });
  refused("prior.head must have 4 elements", [](kernel::Attention& a) { a.prior.head = f64({3}); });
  refused("prior.distance must be (4, 5)", [](kernel::Attention& a) { a.prior.distance = f64({2, 5}); });
  refused("prior.distance knows 2 distances of 3", [](kernel::Attention& a) { a.prior.distance = f64({4, 2}); });
  refused("prior.distance knows 3 distances of 5", [](kernel::Attention& a) {
    a.start = 2;
    a.prior.distance = f64({4, 3});
  });
  refused("prior.key knows 2 keys of 3", [](kernel::Attention& a) { a.prior.key = f64({4, 2}); });
  refused("entmax needs 1 < alpha <= 2, got 1", [](kernel::Attention& a) { a.map = EntmaxMap{.alpha = 1.0}; });
  refused("entmax needs 1 < alpha <= 2, got 2.5", [](kernel::Attention& a) { a.map = EntmaxMap{.alpha = 2.5}; });
  refused("softplus needs beta > 0", [](kernel::Attention& a) { a.map = SoftplusMap{.beta = 0.0}; });
  refused("row_stat must have 24 elements", [](kernel::Attention& a) { a.row_stat = f64({2, 3}); });
  refused("dropout must be in [0, 1)", [](kernel::Attention& a) { a.dropout = 1.5; });
  refused("start -1", [](kernel::Attention& a) { a.start = -1; });
  refused("out overlaps", [](kernel::Attention& a) { a.out = a.q; });
  refused("k must be f64", [](kernel::Attention& a) { a.k.data = i32({2, 3, 4}); });
}

TEST(Check, AttentionBackward) {
  const kernel::Attention a = attention();
  kernel::AttentionBackward args{a,
                                 {f64({2, 3, 8}), 0, 8, 24},
                                 {f64({2, 3, 8}), 0, 8, 24},
                                 {f64({2, 3, 4}), 0, 4, 12},
                                 {f64({2, 3, 4}), 0, 4, 12}};
  EXPECT_EQ(refusal([&] { backend().attention_backward(args); }), "");
  args.dk.data = f64({2, 3, 3});
  expect_refused("dk reads up to element 24 of 18", [&] { backend().attention_backward(args); });
  args.dk = a.k;
  expect_refused("the gradient overlaps", [&] { backend().attention_backward(args); });
}

TEST(Check, AttentionBackwardWithPriorsAndSolvedRows) {
  kernel::AttentionBackward args{attention(),
                                 {f64({2, 3, 8}), 0, 8, 24},
                                 {f64({2, 3, 8}), 0, 8, 24},
                                 {f64({2, 3, 4}), 0, 4, 12},
                                 {f64({2, 3, 4}), 0, 4, 12}};
  const auto refused = [&](const std::string& part, const std::function<void(kernel::AttentionBackward&)>& spoil) {
    kernel::AttentionBackward spoiled = args;
    spoil(spoiled);
    expect_refused(part, [&] { backend().attention_backward(spoiled); });
  };
  refused("dprior.key is the gradient of a prior that is none", [](auto& b) { b.dprior.key = f64({4, 3}); });
  refused("row_dq, row_dk and row_dv come together", [](auto& b) { b.row_dq = {f64({2, 3, 8}), 0, 8, 24}; });
  args.forward.prior.key = f64({4, 3});
  args.dprior.key = f64({4, 3});
  args.row_dq = {f64({2, 3, 8}), 0, 8, 24};
  args.row_dk = {f64({2, 3, 4}), 0, 4, 12};
  args.row_dv = {f64({2, 3, 4}), 0, 4, 12};
  EXPECT_EQ(refusal([&] { backend().attention_backward(args); }), "");
  refused("dprior.key must have 12 elements", [](auto& b) { b.dprior.key = f64({4, 4}); });
  refused("the damping of rows must be greater than 0", [](auto& b) { b.damping.lambda = 0.0; });
  refused("softpick has no symmetric Jacobian", [](auto& b) { b.forward.map = SoftpickMap(); });
  refused("row_dq reads up to element", [](auto& b) { b.row_dq.offset = 1; });
  refused("the gradient overlaps", [](auto& b) { b.row_dv = b.forward.v; });
}

TEST(Check, AttentionMetric) {
  kernel::AttentionMetric args{attention(), 3, f64({2, 3, 5}), f64({2, 3}), f64({2, 3, 5})};
  EXPECT_EQ(refusal([&] { backend().attention_metric(args); }), "");
  const auto refused = [&](const std::string& part, const std::function<void(kernel::AttentionMetric&)>& spoil) {
    kernel::AttentionMetric spoiled = args;
    spoil(spoiled);
    expect_refused(part, [&] { backend().attention_metric(spoiled); });
  };
  refused("head 4 of 4", [](auto& m) { m.head = 4; });
  refused("y must be (6, 5)", [](auto& m) { m.y = f64({2, 2, 5}); });
  refused("column_sums must have 6 elements", [](auto& m) { m.column_sums = f64({2}); });
  refused("products must be (6, 5)", [](auto& m) { m.products = f64({2, 3, 4}); });
  refused("softpick has no symmetric Jacobian", [](auto& m) { m.forward.map = SoftpickMap(); });
}

TEST(Check, Updates) {
  const Tensor n = f64({4}), control = f64({Control::size});
  expect_refused("control must have 5 elements",
                 [&] { backend().clip_factor({.grads = n, .max_norm = 1.0, .control = f64({4})}); });
  expect_refused("max_norm must not be negative",
                 [&] { backend().clip_factor({.grads = n, .max_norm = -1.0, .control = control}); });
  const auto update = [&](const UpdateRule& rule, const Tensor& first, const Tensor& second) {
    backend().update({.rule = rule, .param = n, .grad = n, .states = {first, second}, .control = control});
  };
  expect_refused("[adamw] v must have 4 elements", [&] { update(AdamWRule{}, n, f64({3})); });
  expect_refused("[sgd] buffer is missing", [&] { update(MomentumRule{}, {}, {}); });
  expect_refused("[lion] more states than the rule's 1", [&] { update(LionRule{}, n, n); });
  const auto directed = [&](const kernel::DirectedStep::Matrix& m, double graft) {
    backend().directed_step({.matrices = {m}, .graft = graft, .control = control});
  };
  expect_refused("[directed_step] direction must have 4 elements", [&] { directed({n, n, f64({3}), n}, 0.0); });
  expect_refused("graft (-1) and kl (0) must not be negative", [&] { directed({n, n, n, n}, -1.0); });
  expect_refused("[dot] ", [&] { backend().dot({.a = n, .b = f64({3}), .out = f64({1})}); });
}

TEST(Check, HostAddresses) {
  expect_refused("[copy_from_host] the host address is null",
                 [] { backend().copy_from_host({.from = nullptr, .to = f64({1})}); });
  expect_refused("[copy_to_host] from is missing", [] { backend().copy_to_host({.from = {}, .to = nullptr}); });
  EXPECT_EQ(refusal([] { backend().copy_from_host({.from = nullptr, .to = f64({0})}); }), "");
}

}  // namespace
}  // namespace monge
