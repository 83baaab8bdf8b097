#include "tools/attention_bench.h"

#include <cmath>

#include "train/machine.h"

namespace monge::tools {
namespace {

constexpr double seconds_per_call = 0.3;

constexpr RowMapKind kinds[] = {RowMapKind::softmax,  RowMapKind::softmax1, RowMapKind::sparsemax,
                                RowMapKind::entmax15, RowMapKind::entmax,   RowMapKind::sigmoid,
                                RowMapKind::relu,     RowMapKind::softplus, RowMapKind::softpick};

AttentionTiming time_kind(Device device, DType dtype, const AttentionShape& s, RowMapKind kind, std::int64_t tokens) {
  Backend& backend = backend_of(device);
  const std::int64_t batch = s.rows / tokens, width = 3 * s.heads * s.head_dim, out_width = s.heads * s.head_dim;
  const auto packed = [&] {
    const Tensor x = Tensor::empty({batch, tokens, width}, dtype, device);
    backend.normal(x, 0.0, 1.0, {.seed = 1});
    return x;
  };
  const auto view = [&](const Tensor& x, std::int64_t part) {
    return HeadView{x, part * out_width, width, tokens * width};
  };
  const Tensor qkv = packed(), gradient = packed(), row_gradient = packed();
  const Tensor out = Tensor::empty({batch, tokens, out_width}, dtype, device), dout = Tensor::like(out);
  backend.normal(dout, 0.0, 1.0, {.seed = 2});
  const HeadView out_view{out, 0, out_width, tokens * out_width};

  Attention forward;
  forward.batch = batch;
  forward.queries = forward.keys = tokens;
  forward.heads = forward.kv_heads = s.heads;
  forward.head_dim = s.head_dim;
  forward.scale = 1.0 / std::sqrt(static_cast<double>(s.head_dim));
  forward.map.kind = kind;
  forward.q = view(qkv, 0);
  forward.k = view(qkv, 1);
  forward.v = view(qkv, 2);
  forward.out = out_view;
  forward.row_stat = Tensor::empty({batch, s.heads, tokens}, backend.default_float(), device);
  AttentionBackward backward;
  backward.forward = forward;
  backward.dout = {dout, 0, out_width, tokens * out_width};
  backward.dq = view(gradient, 0);
  backward.dk = view(gradient, 1);
  backward.dv = view(gradient, 2);

  AttentionTiming timing{.kind = std::string(name_of(forward.map)), .tokens = tokens};
  timing.forward = train::best_time(backend, seconds_per_call, [&] { backend.attention(forward); });
  timing.backward = train::best_time(backend, seconds_per_call, [&] { backend.attention_backward(backward); });
  backend.memory().trim();
  backend.memory().reset_peak();
  if (metric_of(forward.map) != Metric::none) {
    backward.row_dq = view(row_gradient, 0);
    backward.row_dk = view(row_gradient, 1);
    backward.row_dv = view(row_gradient, 2);
    timing.row_backward = train::best_time(backend, seconds_per_call, [&] { backend.attention_backward(backward); });
  } else {
    backend.attention_backward(backward);
  }
  timing.scratch = backend.memory().usage()[Pool::scratch].peak;
  return timing;
}

}  // namespace

std::vector<AttentionTiming> bench_attention(Device device, DType dtype, const AttentionShape& shape) {
  std::vector<AttentionTiming> timings;
  for (std::int64_t tokens = 64; tokens <= shape.rows; tokens *= 4) {
    for (const RowMapKind kind : kinds) timings.push_back(time_kind(device, dtype, shape, kind, tokens));
  }
  return timings;
}

}  // namespace monge::tools
