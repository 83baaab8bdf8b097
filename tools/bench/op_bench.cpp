#include "tools/bench/op_bench.h"

#include <algorithm>
#include <cctype>
#include <tuple>
#include <type_traits>

#include "core/machine.h"
#include "nn/attention/aaren.h"
#include "nn/attention/attention.h"

namespace monge::tools {
namespace {

constexpr double seconds_per_op = 0.1;

/// Makes operands, times calls and gathers the results.
class OpBench {
 public:
  OpBench(nn::Model& model, const nn::ParameterStore& store, std::int64_t batch)
      : model_(model),
        store_(store),
        backend_(store.values().backend()),
        device_(store.values().device()),
        dtype_(store.copies().defined() ? DType::bf16 : store.values().dtype()),
        batch_(batch),
        rows_(batch * model.context()) {}

  std::vector<OpTiming> run() {
    products();
    attention();
    norms();
    activations();
    embeddings();
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
  Tensor ids(std::int64_t count) const {
    RandomSequence sequence(1, 0);
    std::vector<std::int32_t> values(static_cast<std::size_t>(rows_));
    for (auto& v : values) v = static_cast<std::int32_t>(sequence.below(static_cast<std::uint64_t>(count)));
    return Tensor::from(values, {rows_}, device_);
  }
  double bytes(std::int64_t elements) const {
    return static_cast<double>(elements) * static_cast<double>(size_of(dtype_));
  }

  void time(std::string name, std::string shape, std::int64_t calls, double flops, double bytes_moved,
            const std::function<void()>& work) {
    timings_.push_back(
        {std::move(name), std::move(shape), calls, best_time(backend_, seconds_per_op, work), flops, bytes_moved});
  }

  /// Layers that have a key in common.
  template <class Key>
  struct Alike {
    Key key;
    std::string first;  // name of the first one
    std::int64_t count = 1;
  };

  /// The layers of type L, by `key(name, layer)`.
  template <class L, class F>
  auto alike(F key) const {
    using Key = std::invoke_result_t<F, const std::string&, const L&>;
    std::vector<Alike<Key>> groups;
    model_.visit([&](const std::string& name, nn::Module& module) {
      const auto* layer = dynamic_cast<const L*>(&module);
      if (layer == nullptr) return;
      const Key its_key = key(name, *layer);
      const auto found = std::ranges::find(groups, its_key, &Alike<Key>::key);
      if (found != groups.end()) {
        ++found->count;
      } else {
        groups.push_back({its_key, name});
      }
    });
    return groups;
  }

  /// y = x W^T, dx = dy W and dW = dy^T x for every Linear, those of all blocks together, and for every table that is
  /// multiplied.
  void products() {
    const auto in_any_block = [](const std::string& name, const nn::Linear& layer) {
      std::string letters = name;
      std::erase_if(letters, [](unsigned char c) { return std::isdigit(c) != 0; });
      return std::pair(letters, layer.weight().shape());
    };
    for (const auto& [key, first, calls] : alike<nn::Linear>(in_any_block)) {
      linear(first, calls, key.second[0], key.second[1]);
    }
    const auto weight = [](const std::string&, const nn::Embedding& layer) { return &layer.weight(); };
    for (const auto& [table, first, calls] : alike<nn::Embedding>(weight)) {
      if (model_.is_multiplied(*table)) {
        linear(fmt::format("head ({})", first), calls, table->shape()[0], table->shape()[1]);
      }
    }
  }

  void linear(const std::string& name, std::int64_t calls, std::int64_t out, std::int64_t in) {
    const Tensor x = random({rows_, in}), w = random({out, in}), y = random({rows_, out});
    const Tensor dx = random({rows_, in}), dw = random({out, in}, store_.values().dtype());
    const auto product = [&](const char* part, std::int64_t m, std::int64_t n, std::int64_t k,
                             const kernel::Matmul& args) {
      time(name + part, fmt::format("{} x {} x {}", m, n, k), calls, kernel::flops_of(args), 0.0,
           [&] { backend_.matmul(args); });
    };
    product(" forward", rows_, out, in, {.a = x, .b = w, .transpose_b = true, .out = y});
    product(" dx", rows_, in, out, {.a = y, .b = w, .out = dx});
    product(" dW", out, in, rows_, {.a = y, .transpose_a = true, .b = x, .out = dw});
  }

  void attention() {
    const auto heads_of = [](const std::string&, const auto& layer) {
      return std::tuple(layer.heads(), layer.kv_heads(), layer.head_dim());
    };
    for (const auto& [key, first, calls] : alike<nn::RowMapAttention>(heads_of)) {
      const auto& [heads, kv_heads, head_dim] = key;
      attention(calls, heads, kv_heads, head_dim);
    }
    for (const auto& [key, first, calls] : alike<nn::Aaren>(heads_of)) {
      const auto& [heads, kv_heads, head_dim] = key;
      prefix_attention(calls, heads, kv_heads, head_dim);
    }
  }

  void attention(std::int64_t calls, std::int64_t heads, std::int64_t kv_heads, std::int64_t head_dim) {
    const std::int64_t tokens = model_.context(), width = heads * head_dim;
    const std::int64_t packed = (heads + 2 * kv_heads) * head_dim;
    const Tensor qkv = random({batch_, tokens, packed}), out = random({batch_, tokens, width});
    const Tensor dqkv = random({batch_, tokens, packed}), dout = random({batch_, tokens, width});
    const auto view = [&](const Tensor& x, std::int64_t head) {
      return HeadView{x, head * head_dim, x.size(2), tokens * x.size(2)};
    };
    const kernel::Attention forward{.batch = batch_,
                                    .queries = tokens,
                                    .keys = tokens,
                                    .heads = heads,
                                    .kv_heads = kv_heads,
                                    .head_dim = head_dim,
                                    .scale = 1.0,
                                    .map = {},
                                    .prior = {},
                                    .random = {},
                                    .q = view(qkv, 0),
                                    .k = view(qkv, heads),
                                    .v = view(qkv, heads + kv_heads),
                                    .out = view(out, 0),
                                    .row_stat = statistics({batch_, heads, tokens})};
    const std::string shape = fmt::format("B {} T {} H {} D {}", batch_, tokens, heads, head_dim);
    time("attention forward", shape, calls, kernel::flops_of(forward), 0.0, [&] { backend_.attention(forward); });
    const kernel::AttentionBackward backward{.forward = forward,
                                             .dout = view(dout, 0),
                                             .dq = view(dqkv, 0),
                                             .dk = view(dqkv, heads),
                                             .dv = view(dqkv, heads + kv_heads)};
    time("attention backward", shape, calls, kernel::flops_of(backward), 0.0,
         [&] { backend_.attention_backward(backward); });
  }

  void prefix_attention(std::int64_t calls, std::int64_t heads, std::int64_t kv_heads, std::int64_t head_dim) {
    const std::int64_t tokens = model_.context(), kv_width = 2 * kv_heads * head_dim;
    const Tensor query = random({heads, head_dim}), kv = random({batch_, tokens, kv_width});
    const kernel::PrefixAttention forward = autograd::prefix_attention_call(query, kv, kv_heads, 1.0);
    const Tensor dout = random(forward.out.data.shape()), dkv = random(kv.shape()), dq = statistics(query.shape());
    const auto view = [](const Tensor& x, const HeadView& like) {
      return HeadView{x, like.offset, like.token_stride, like.batch_stride};
    };
    const kernel::PrefixAttentionBackward backward{.forward = forward,
                                                   .dout = view(dout, forward.out),
                                                   .dk = view(dkv, forward.k),
                                                   .dv = view(dkv, forward.v),
                                                   .dq = dq};
    const std::string shape = fmt::format("B {} T {} H {} D {}", batch_, tokens, heads, head_dim);
    const auto bytes_of = [&](const auto& args) { return describe(check(args, device_), args).bytes(); };
    time("prefix attention forward", shape, calls, 0.0, bytes_of(forward), [&] { backend_.prefix_attention(forward); });
    time("prefix attention backward", shape, calls, 0.0, bytes_of(backward),
         [&] { backend_.prefix_attention_backward(backward); });
  }

  void norms() {
    const auto width_of = [](const std::string&, const nn::Norm& layer) {
      const auto parameters = layer.parameters();
      return parameters.empty() ? 0 : parameters.front().parameter->shape().numel();
    };
    for (const auto& [width, first, calls] : alike<nn::Norm>(width_of)) {
      if (width > 0) norm(width, calls);
    }
  }

  void norm(std::int64_t width, std::int64_t calls) {
    const Tensor x = random({rows_, width}), residual = random({rows_, width}), sum = random({rows_, width});
    const Tensor y = random({rows_, width}), dx = random({rows_, width}), gain = random({width});
    const Tensor mean = statistics({rows_}), rstd = statistics({rows_}), dgain = statistics({width});
    const std::string shape = fmt::format("{} x {}", rows_, width);
    const std::int64_t n = rows_ * width;
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

  void activations() {
    const auto activation_of = [](const std::string&, const nn::Linear& layer) {
      return std::pair(layer.activation(), layer.weight().shape()[0]);
    };
    for (const auto& [key, first, calls] : alike<nn::Linear>(activation_of)) {
      if (key.first != Activation::none) activation(key.first, key.second, calls);
    }
  }

  void activation(Activation kind, std::int64_t hidden, std::int64_t calls) {
    const Tensor x = random({rows_, hidden}), y = random({rows_, hidden});
    const std::string shape = fmt::format("{} x {}", rows_, hidden);
    time(fmt::format("{} forward", name_of(kind)), shape, calls, 0.0, bytes(2 * rows_ * hidden),
         [&] { backend_.activate({.function = kind, .x = x, .y = y}); });
    time(fmt::format("{} backward", name_of(kind)), shape, calls, 0.0, bytes(3 * rows_ * hidden),
         [&] { backend_.activate_backward({.function = kind, .x = x, .dy = y, .dx = y}); });
  }

  void embeddings() {
    const auto shape_of = [](const std::string&, const nn::Embedding& layer) { return layer.weight().shape(); };
    for (const auto& [shape, first, calls] : alike<nn::Embedding>(shape_of)) embedding(shape[0], shape[1], calls);
  }

  void embedding(std::int64_t entries, std::int64_t width, std::int64_t calls) {
    const Tensor table = random({entries, width}), out = random({rows_, width});
    const Tensor dtable = statistics({entries, width}), tokens = ids(entries);
    const std::string shape = fmt::format("{} of {} x {}", rows_, entries, width);
    time("embedding forward", shape, calls, 0.0, bytes(2 * rows_ * width),
         [&] { backend_.embedding({.ids = tokens, .table = table, .out = out}); });
    time("embedding backward", shape, calls, 0.0, bytes(3 * rows_ * width),
         [&] { backend_.embedding_backward({.ids = tokens, .dout = out, .dtable = dtable, .accumulate = true}); });
  }

  void loss() {
    const std::int64_t vocab = model_.vocab();
    const Tensor logits = random({rows_, vocab}), targets = ids(vocab), losses = statistics({rows_});
    const Tensor lse = statistics({rows_}), summary = statistics({2}), dloss = statistics({1});
    const std::string shape = fmt::format("{} x {}", rows_, vocab);
    time("cross-entropy forward", shape, 1, 0.0, bytes(rows_ * vocab), [&] {
      backend_.cross_entropy({.logits = logits, .targets = targets, .losses = losses, .lse = lse, .summary = summary});
    });
    backend_.fill({.x = dloss, .value = 1.0});
    time("cross-entropy backward", shape, 1, 0.0, bytes(2 * rows_ * vocab), [&] {
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
    time("gradient norm", shape, 1, 0.0, element,
         [&] { backend_.clip_factor({.grads = grad, .max_norm = 1.0, .control = control}); });
    backend_.fill({.x = control.slice(Control::step, Control::step + 1), .value = 1.0});
    time("adamw", shape, 1, 0.0, 7.0 * element + (copy.defined() ? bytes(n) : 0.0), [&] {
      backend_.update(
          {.rule = AdamWRule{}, .param = param, .grad = grad, .states = {m, v}, .copy = copy, .control = control});
    });
  }

  nn::Model& model_;
  const nn::ParameterStore& store_;
  Backend& backend_;
  const Device device_;
  const DType dtype_;
  const std::int64_t batch_, rows_;
  std::vector<OpTiming> timings_;
};

}  // namespace

std::vector<OpTiming> bench_ops(nn::Model& model, const nn::ParameterStore& store, std::int64_t batch) {
  return OpBench(model, store, batch).run();
}

}  // namespace monge::tools
