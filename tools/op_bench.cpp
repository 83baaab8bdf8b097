#include "tools/op_bench.h"


#include "train/machine.h"

namespace monge::tools {
namespace {

constexpr double seconds_per_op = 0.1;

/// Makes operands, times calls and gathers the results.
class OpBench {
 public:
  OpBench(nn::Gpt& model, const nn::ParameterStore& store, std::int64_t batch)
      : store_(store),
        backend_(store.values().backend()),
        device_(store.values().device()),
        dtype_(store.copies().defined() ? DType::bf16 : store.values().dtype()),
        batch_(batch),
        context_(model.options().context),
        width_(model.options().width),
        layers_(model.options().layers),
        heads_(model.options().heads),
        kv_heads_(model.options().kv_heads > 0 ? model.options().kv_heads : model.options().heads),
        vocab_(model.vocab()),
        rows_(batch * context_) {}

  std::vector<OpTiming> run() {
    products();
    attention();
    norm();
    activation();
    embedding();
    loss();
    update();
    return std::move(timings_);
  }

 private:
  Tensor random(const Shape& shape) const { return random(shape, dtype_); }
  Tensor random(const Shape& shape, DType dtype) const {
    const Tensor x = Tensor::empty(shape, dtype, device_, Pool::scratch);
    backend_.normal({.x = x, .random = {}});
    return x;
  }
  Tensor statistics(const Shape& shape) const {
    return Tensor::zeros(shape, store_.values().dtype(), device_, Pool::scratch);
  }
  Tensor ids(std::int64_t n) const {
    RandomSequence sequence(1, 0);
    std::vector<std::int32_t> values(static_cast<std::size_t>(n));
    for (auto& v : values) v = static_cast<std::int32_t>(sequence.below(static_cast<std::uint64_t>(vocab_)));
    return Tensor::from(values, {n}, device_);
  }
  double bytes(std::int64_t elements) const {
    return static_cast<double>(elements) * static_cast<double>(size_of(dtype_));
  }

  void time(std::string name, std::string shape, std::int64_t calls, double flops, double bytes_moved,
            const std::function<void()>& work) {
    timings_.push_back({std::move(name), std::move(shape), calls, train::best_time(backend_, seconds_per_op, work),
                        flops, bytes_moved});
  }

  /// y = x W^T, dx = dy W and dW = dy^T x for every matrix of the first block and for the head.
  void products() {
    for (const auto& entry : store_.entries()) {
      const bool block = entry.name.starts_with("blocks.0.") && entry.role == nn::Role::matrix;
      const bool head = entry.role == nn::Role::head || entry.name == "wte.weight";
      if (!(block || head) || entry.shape.rank() != 2) continue;
      const bool tied_table = entry.role == nn::Role::embedding;
      if (tied_table && has_head()) continue;
      linear(tied_table ? "head (wte)" : entry.name.substr(0, entry.name.rfind('.')), block ? layers_ : 1,
             entry.shape[0], entry.shape[1]);
    }
  }

  bool has_head() const {
    for (const auto& entry : store_.entries()) {
      if (entry.role == nn::Role::head) return true;
    }
    return false;
  }

  void linear(const std::string& name, std::int64_t calls, std::int64_t out, std::int64_t in) {
    const Tensor x = random({rows_, in}), w = random({out, in}), y = random({rows_, out});
    const Tensor dx = random({rows_, in}), dw = random({out, in}, store_.values().dtype());
    const auto product = [&](const char* part, std::int64_t m, std::int64_t n, std::int64_t k, const kernel::Matmul& args) {
      time(name + part, fmt::format("{} x {} x {}", m, n, k), calls, kernel::flops_of(args), 0.0,
           [&] { backend_.matmul(args); });
    };
    product(" forward", rows_, out, in, {.a = x, .b = w, .transpose_b = true, .out = y});
    product(" dx", rows_, in, out, {.a = y, .b = w, .out = dx});
    product(" dW", out, in, rows_, {.a = y, .transpose_a = true, .b = x, .out = dw});
  }

  void attention() {
    const std::int64_t head_dim = width_ / heads_, packed = (heads_ + 2 * kv_heads_) * head_dim;
    const Tensor qkv = random({batch_, context_, packed}), out = random({batch_, context_, width_});
    const Tensor dqkv = random({batch_, context_, packed}), dout = random({batch_, context_, width_});
    const auto view = [&](const Tensor& x, std::int64_t head) {
      return HeadView{x, head * head_dim, x.size(2), context_ * x.size(2)};
    };
    const kernel::Attention forward{.batch = batch_,
                            .queries = context_,
                            .keys = context_,
                            .heads = heads_,
                            .kv_heads = kv_heads_,
                            .head_dim = head_dim,
                            .scale = 1.0,
                            .map = {},
                            .prior = {},
                            .random = {},
                            .q = view(qkv, 0),
                            .k = view(qkv, heads_),
                            .v = view(qkv, heads_ + kv_heads_),
                            .out = view(out, 0),
                            .row_stat = statistics({batch_, heads_, context_})};
    const std::string shape = fmt::format("B {}, T {}, H {}, D {}", batch_, context_, heads_, head_dim);
    time("attention forward", shape, layers_, kernel::flops_of(forward), 0.0, [&] { backend_.attention(forward); });
    const kernel::AttentionBackward backward{.forward = forward,
                                     .dout = view(dout, 0),
                                     .dq = view(dqkv, 0),
                                     .dk = view(dqkv, heads_),
                                     .dv = view(dqkv, heads_ + kv_heads_)};
    time("attention backward", shape, layers_, kernel::flops_of(backward), 0.0,
         [&] { backend_.attention_backward(backward); });
  }

  void norm() {
    const Tensor x = random({rows_, width_}), residual = random({rows_, width_}), sum = random({rows_, width_});
    const Tensor y = random({rows_, width_}), dx = random({rows_, width_}), gain = random({width_});
    const Tensor mean = statistics({rows_}), rstd = statistics({rows_}), dgain = statistics({width_});
    const std::string shape = fmt::format("{} x {}", rows_, width_);
    const std::int64_t n = rows_ * width_, calls = 2 * layers_ + 1;
    time("layer norm of a sum, forward", shape, calls, 0.0, bytes(4 * n), [&] {
      backend_.norm(
          {.x = x, .residual = residual, .gain = gain, .bias = {}, .sum = sum, .y = y, .mean = mean, .rstd = rstd});
    });
    time("layer norm of a sum, backward", shape, calls, 0.0, bytes(4 * n), [&] {
      backend_.norm_backward({.x = sum,
                              .gain = gain,
                              .mean = mean,
                              .rstd = rstd,
                              .dy = y,
                              .dsum = residual,
                              .dx = dx,
                              .dgain = dgain,
                              .dbias = {}});
    });
  }

  void activation() {
    const std::int64_t hidden = 4 * width_;
    const Tensor x = random({rows_, hidden}), y = random({rows_, hidden});
    const std::string shape = fmt::format("{} x {}", rows_, hidden);
    time("gelu forward", shape, layers_, 0.0, bytes(2 * rows_ * hidden),
         [&] { backend_.activate({.function = Activation::gelu, .x = x, .y = y}); });
    time("gelu backward", shape, layers_, 0.0, bytes(3 * rows_ * hidden),
         [&] { backend_.activate_backward({.function = Activation::gelu, .x = x, .dy = y, .dx = y}); });
  }

  void embedding() {
    const Tensor table = random({vocab_, width_}), out = random({rows_, width_});
    const Tensor dtable = statistics({vocab_, width_}), tokens = ids(rows_);
    const std::string shape = fmt::format("{} of {} x {}", rows_, vocab_, width_);
    time("embedding forward", shape, 1, 0.0, bytes(2 * rows_ * width_),
         [&] { backend_.embedding({.ids = tokens, .table = table, .out = out}); });
    time("embedding backward", shape, 1, 0.0, bytes(3 * rows_ * width_),
         [&] { backend_.embedding_backward({.ids = tokens, .dout = out, .dtable = dtable, .accumulate = /*accumulate=*/true}); });
  }

  void loss() {
    const Tensor logits = random({rows_, vocab_}), targets = ids(rows_), losses = statistics({rows_});
    const Tensor lse = statistics({rows_}), summary = statistics({2}), dloss = statistics({1});
    const std::string shape = fmt::format("{} x {}", rows_, vocab_);
    time("cross-entropy forward", shape, 1, 0.0, bytes(rows_ * vocab_), [&] {
      backend_.cross_entropy({.logits = logits, .targets = targets, .losses = losses, .lse = lse, .summary = summary});
    });
    backend_.fill({.x = dloss, .value = 1.0});
    time("cross-entropy backward", shape, 1, 0.0, bytes(2 * rows_ * vocab_), [&] {
      backend_.cross_entropy_backward(
          {.logits = logits, .targets = targets, .lse = lse, .summary = summary, .dloss = dloss});
    });
  }

  void update() {
    const std::int64_t n = store_.flat_size();
    const DType dtype = store_.values().dtype();
    const Tensor param = random({n}, dtype), grad = random({n}, dtype);
    const Tensor m = statistics({n}), v = statistics({n}), control = statistics({Control::size});
    const Tensor copy = store_.copies().defined() ? random({n}, DType::bf16) : Tensor();
    const double element = static_cast<double>(size_of(dtype)) * static_cast<double>(n);
    const std::string shape = fmt::format("{}", n);
    time("gradient norm", shape, 1, 0.0, element, [&] { backend_.clip_factor({.grads = grad, .max_norm = 1.0, .control = control}); });
    backend_.fill({.x = control.slice(Control::step, Control::step + 1), .value = 1.0});
    time("adamw", shape, 1, 0.0, 7.0 * element + (copy.defined() ? bytes(n) : 0.0), [&] {
      backend_.update(
          {.rule = AdamWRule{}, .param = param, .grad = grad, .states = {m, v}, .copy = copy, .control = control});
    });
  }

  const nn::ParameterStore& store_;
  Backend& backend_;
  const Device device_;
  const DType dtype_;
  const std::int64_t batch_, context_, width_, layers_, heads_, kv_heads_, vocab_, rows_;
  std::vector<OpTiming> timings_;
};

}  // namespace

std::vector<OpTiming> bench_ops(nn::Gpt& model, const nn::ParameterStore& store, std::int64_t batch) {
  return OpBench(model, store, batch).run();
}

}  // namespace monge::tools
