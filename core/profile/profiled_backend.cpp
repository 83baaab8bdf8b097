#include "core/profile/profiled_backend.h"

#include "core/profile/cost.h"
#include "core/profile/profile.h"

namespace monge::profile {
namespace {

/// A tensor and its name in a call, made into an Operand unless it is none.
struct Named {
  const char* name;
  const Tensor& tensor;
  int passes = 1;
};

KernelCall call_of(const char* name, std::initializer_list<Named> tensors, double flops = 0.0) {
  KernelCall call{.name = name, .operands = {}, .flops = flops};
  call.operands.reserve(tensors.size());
  for (const Named& t : tensors) {
    if (t.tensor) call.operands.push_back({t.name, t.tensor.shape(), t.tensor.dtype(), t.passes});
  }
  return call;
}

/// The part of a packed tensor that a head view is: (B, T, H, D).
Operand heads_of(const char* name, const HeadView& view, const Attention& a, std::int64_t tokens, std::int64_t heads) {
  return {name, {a.batch, tokens, heads, a.head_dim}, view.data.dtype()};
}

KernelCall call_of(const Attention& a) {
  return {.name = "attention",
          .operands = {heads_of("q", a.q, a, a.queries, a.heads), heads_of("k", a.k, a, a.keys, a.kv_heads),
                       heads_of("v", a.v, a, a.keys, a.kv_heads), heads_of("out", a.out, a, a.queries, a.heads)},
          .flops = flops_of(a)};
}

KernelCall call_of(const AttentionBackward& args) {
  const Attention& a = args.forward;
  KernelCall call = call_of(a);
  call.name = "attention_backward";
  call.flops = flops_of(args);
  const auto add = [&](const char* name, const HeadView& view, std::int64_t tokens, std::int64_t heads) {
    if (view.data) call.operands.push_back(heads_of(name, view, a, tokens, heads));
  };
  add("dout", args.dout, a.queries, a.heads);
  add("dq", args.dq, a.queries, a.heads);
  add("dk", args.dk, a.keys, a.kv_heads);
  add("dv", args.dv, a.keys, a.kv_heads);
  add("row_dq", args.row_dq, a.queries, a.heads);
  add("row_dk", args.row_dk, a.keys, a.kv_heads);
  add("row_dv", args.row_dv, a.keys, a.kv_heads);
  return call;
}

KernelCall call_of(const AttentionMetric& args) {
  const Attention& a = args.forward;
  return {.name = "attention_metric",
          .operands = {heads_of("q", a.q, a, a.queries, 1),
                       heads_of("k", a.k, a, a.keys, 1),
                       {"y", args.y.shape(), args.y.dtype()},
                       {"products", args.products.shape(), args.products.dtype()}},
          .flops = flops_of(args)};
}

KernelCall call_of(const DirectedStep& args) {
  KernelCall call{.name = "directed_step"};
  for (const DirectedStep::Matrix& m : args.matrices) {
    for (const Tensor* read : {&m.before, &m.direction, &m.gradient}) {
      call.operands.push_back({"read", read->shape(), read->dtype()});
    }
    call.operands.push_back({"param", m.param.shape(), m.param.dtype(), 2});
  }
  return call;
}

class ProfiledBackend final : public Backend {
 public:
  explicit ProfiledBackend(Backend& inner) : inner_(inner) {}

  Device device() const override { return inner_.device(); }
  std::string description() const override { return inner_.description(); }
  DType default_float() const override { return inner_.default_float(); }
  MemoryPools& memory() override { return inner_.memory(); }
  void configure(const GpuSettings& settings) override { inner_.configure(settings); }
  std::vector<std::string> notes() const override { return inner_.notes(); }
  std::unique_ptr<Recording> record(const std::function<void()>& calls) override { return inner_.record(calls); }

  void copy_from_host(const void* from, const Tensor& to) override {
    const Span span(call_of("copy_from_host", {{"to", to}}));
    inner_.copy_from_host(from, to);
  }
  void copy_to_host(const Tensor& from, void* to) override {
    const Span span(call_of("copy_to_host", {{"from", from}}));
    inner_.copy_to_host(from, to);
  }
  void copy(const Tensor& from, const Tensor& to) override {
    const Span span(call_of("copy", {{"from", from}, {"to", to}}));
    inner_.copy(from, to);
  }
  void fill(const Tensor& x, double value) override {
    const Span span(call_of("fill", {{"x", x}}));
    inner_.fill(x, value);
  }
  void synchronize() override {
    const Span span(call_of("synchronize", {}));
    inner_.synchronize();
  }

  void uniform(const Tensor& x, double low, double high, const Random& random) override {
    const Span span(call_of("uniform", {{"x", x}}));
    inner_.uniform(x, low, high, random);
  }
  void normal(const Tensor& x, double mean, double stddev, const Random& random) override {
    const Span span(call_of("normal", {{"x", x}}));
    inner_.normal(x, mean, stddev, random);
  }
  void dropout(const Tensor& x, const Tensor& y, double p, const Random& random) override {
    const Span span(call_of("dropout", {{"x", x}, {"y", y}}));
    inner_.dropout(x, y, p, random);
  }

  void matmul(const Matmul& args) override {
    const Span span(call_of("matmul",
                            {{args.transpose_a ? "a^T" : "a", args.a},
                             {args.transpose_b ? "b^T" : "b", args.b},
                             {"bias", args.bias},
                             {"pre_activation", args.pre_activation},
                             {"out", args.out, args.accumulate ? 2 : 1}},
                            flops_of(args)));
    inner_.matmul(args);
  }

  void add(const Tensor& a, const Tensor& b, const Tensor& out) override {
    const Span span(call_of("add", {{"a", a}, {"b", b}, {"out", out}}));
    inner_.add(a, b, out);
  }
  void mul(const Tensor& a, const Tensor& b, const Tensor& out) override {
    const Span span(call_of("mul", {{"a", a}, {"b", b}, {"out", out}}));
    inner_.mul(a, b, out);
  }
  void scale(const Tensor& x, double factor, const Tensor& out) override {
    const Span span(call_of("scale", {{"x", x}, {"out", out}}));
    inner_.scale(x, factor, out);
  }
  void add_scaled(const Tensor& x, double factor, const Tensor& y) override {
    const Span span(call_of("add_scaled", {{"x", x}, {"y", y, 2}}));
    inner_.add_scaled(x, factor, y);
  }
  void pointwise(Pointwise function, const Tensor& a, const Tensor& b, const Tensor& out) override {
    const Span span(call_of("pointwise", {{"a", a}, {"b", b}, {"out", out}}));
    inner_.pointwise(function, a, b, out);
  }
  void activation(Activation kind, const Tensor& x, const Tensor& y) override {
    const Span span(call_of("activation", {{"x", x}, {"y", y}}));
    inner_.activation(kind, x, y);
  }
  void activation_backward(Activation kind, const Tensor& x, const Tensor& dy, const Tensor& dx,
                           const Tensor& y) override {
    const Span span(call_of("activation_backward", {{"x", x}, {"dy", dy}, {"dx", dx}, {"y", y}}));
    inner_.activation_backward(kind, x, dy, dx, y);
  }

  void swap_middle(const Tensor& x, const Tensor& y) override {
    const Span span(call_of("swap_middle", {{"x", x}, {"y", y}}));
    inner_.swap_middle(x, y);
  }
  void sum(const Tensor& x, std::int64_t outer, std::int64_t n, std::int64_t inner, double factor, const Tensor& out,
           bool accumulate) override {
    const Span span(call_of("sum", {{"x", x}, {"out", out, accumulate ? 2 : 1}}));
    inner_.sum(x, outer, n, inner, factor, out, accumulate);
  }
  void dot(const Tensor& a, const Tensor& b, const Tensor& out) override {
    const Span span(call_of("dot", {{"a", a}, {"b", b}, {"out", out}}));
    inner_.dot(a, b, out);
  }
  void repeat(const Tensor& x, std::int64_t outer, std::int64_t n, std::int64_t inner, double factor,
              const Tensor& out) override {
    const Span span(call_of("repeat", {{"x", x}, {"out", out}}));
    inner_.repeat(x, outer, n, inner, factor, out);
  }

  void softmax(const Tensor& x, const Tensor& y) override {
    const Span span(call_of("softmax", {{"x", x}, {"y", y}}));
    inner_.softmax(x, y);
  }
  void softmax_backward(const Tensor& y, const Tensor& dy, const Tensor& dx) override {
    const Span span(call_of("softmax_backward", {{"y", y}, {"dy", dy}, {"dx", dx}}));
    inner_.softmax_backward(y, dy, dx);
  }
  void norm(const Norm& args) override {
    const Span span(call_of("norm", {{"x", args.x}, {"residual", args.residual}, {"sum", args.sum}, {"y", args.y}}));
    inner_.norm(args);
  }
  void norm_backward(const NormBackward& args) override {
    const Span span(call_of("norm_backward", {{"x", args.x}, {"dy", args.dy}, {"dsum", args.dsum}, {"dx", args.dx}}));
    inner_.norm_backward(args);
  }
  void rope(const Rope& args) override {
    const Span span(call_of("rope", {{"x", args.x}, {"y", args.y}}));
    inner_.rope(args);
  }

  void embedding(const Tensor& ids, const Tensor& table, const Tensor& out) override {
    const Span span(call_of("embedding", {{"ids", ids}, {"out", out, 2}}));  // as many elements of the table are read
    inner_.embedding(ids, table, out);
  }
  void embedding_backward(const Tensor& ids, const Tensor& dout, const Tensor& dtable, bool accumulate) override {
    const Span span(
        call_of("embedding_backward", {{"ids", ids}, {"dout", dout}, {"dtable", dtable, accumulate ? 2 : 1}}));
    inner_.embedding_backward(ids, dout, dtable, accumulate);
  }
  void target_share(const Tensor& targets, std::int64_t vocab, const Tensor& share) override {
    const Span span(call_of("target_share", {{"targets", targets}}));
    inner_.target_share(targets, vocab, share);
  }
  void sample_targets(const Tensor& logits, const Random& random, const Tensor& targets) override {
    const Span span(call_of("sample_targets", {{"logits", logits}, {"targets", targets}}));
    inner_.sample_targets(logits, random, targets);
  }
  void cross_entropy(const CrossEntropy& args) override {
    const Span span(call_of("cross_entropy", {{"logits", args.logits}, {"targets", args.targets}}));
    inner_.cross_entropy(args);
  }
  void cross_entropy_backward(const CrossEntropyBackward& args) override {
    const Span span(call_of("cross_entropy_backward", {{"logits", args.logits, 2}, {"targets", args.targets}}));
    inner_.cross_entropy_backward(args);
  }

  void attention(const Attention& args) override {
    const Span span(call_of(args));
    inner_.attention(args);
  }
  void attention_backward(const AttentionBackward& args) override {
    const Span span(call_of(args));
    inner_.attention_backward(args);
  }
  void attention_metric(const AttentionMetric& args) override {
    const Span span(call_of(args));
    inner_.attention_metric(args);
  }

  void clip_factor(const Tensor& grads, double max_norm, const Tensor& control) override {
    const Span span(call_of("clip_factor", {{"grads", grads}}));
    inner_.clip_factor(grads, max_norm, control);
  }
  void update(const Update& args) override {
    const auto& [first, second, third] = args.states;
    const Span span(call_of("update", {{"param", args.param, 2},
                                       {"grad", args.grad},
                                       {"state 1", first, 2},
                                       {"state 2", second, 2},
                                       {"state 3", third, 2},
                                       {"copy", args.copy}}));
    inner_.update(args);
  }
  void directed_step(const DirectedStep& args) override {
    const Span span(call_of(args));
    inner_.directed_step(args);
  }

 private:
  Backend& inner_;
};

}  // namespace

std::unique_ptr<Backend> make_profiled(Backend& inner) { return std::make_unique<ProfiledBackend>(inner); }

}  // namespace monge::profile
