#include "tools/bench/attention_bench.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/machine.h"
#include "train/console/progress.h"

namespace monge::tools {
namespace {

using Path = GpuSettings::AttentionPath;

std::string_view path_name(Path path) {
  constexpr std::string_view names[] = {"fastest", "cudnn", "fused", "unfused"};
  return names[static_cast<std::size_t>(path)];
}

/// One product of T x T scores with the heads, its causal half.
double product_flops(const AttentionCase& c) {
  return static_cast<double>(c.batch * c.heads * c.head_dim) * static_cast<double>(c.tokens * c.tokens);
}

/// The operands of a case.
class Operands {
 public:
  Operands(Device device, const AttentionCase& c) : c_(c) {
    Backend& backend = backend_of(device);
    const std::int64_t width = c.heads * c.head_dim;
    const auto random = [&](std::int64_t columns, std::uint64_t seed) {
      const Tensor x = Tensor::empty({c.batch, c.tokens, columns}, c.dtype, device);
      backend.normal({.x = x, .random = {.seed = seed}});
      return x;
    };
    const Tensor qkv = random(3 * width, 1), out = random(width, 2), dout = random(width, 3);
    const Tensor gradient = Tensor::like(qkv);
    row_gradient_ = Tensor::like(qkv);

    forward.batch = c.batch;
    forward.queries = forward.keys = c.tokens;
    forward.heads = forward.kv_heads = c.heads;
    forward.head_dim = c.head_dim;
    forward.scale = 1.0 / std::sqrt(static_cast<double>(c.head_dim));
    forward.map = c.map;
    forward.q = part(qkv, 0);
    forward.k = part(qkv, 1);
    forward.v = part(qkv, 2);
    forward.out = part(out, 0);
    forward.row_stat = Tensor::empty({c.batch, c.heads, c.tokens}, backend.default_float(), device);
    backward.forward = forward;
    backward.dout = part(dout, 0);
    backward.dq = part(gradient, 0);
    backward.dk = part(gradient, 1);
    backward.dv = part(gradient, 2);
  }

  void solve_rows() {
    backward.row_dq = part(row_gradient_, 0);
    backward.row_dk = part(row_gradient_, 1);
    backward.row_dv = part(row_gradient_, 2);
  }

  kernel::Attention forward;
  kernel::AttentionBackward backward;

 private:
  HeadView part(const Tensor& x, std::int64_t index) const {
    const std::int64_t width = x.size(2);
    return {x, index * c_.heads * c_.head_dim, width, c_.tokens * width};
  }

  const AttentionCase c_;
  Tensor row_gradient_;
};

void time_calls(Backend& backend, double seconds, AttentionTiming& timing) {
  Operands operands(backend.device(), timing.of);
  timing.forward = best_time(backend, seconds, [&] { backend.attention(operands.forward); });
  const auto backward = [&] { backend.attention_backward(operands.backward); };
  timing.backward = best_time(backend, seconds, backward);
  timing.notes = backend.notes();
  backend.memory().trim();
  backend.memory().reset_peak();
  if (metric_of(operands.forward.map) != Metric::none && timing.of.path != Path::cudnn) {
    operands.solve_rows();
    timing.row_backward = best_time(backend, seconds, backward);
  } else {
    backward();
  }
  timing.scratch = backend.memory().usage()[Pool::scratch].peak;
}

}  // namespace

double AttentionTiming::forward_rate() const { return 2.0 * product_flops(of) / forward; }
double AttentionTiming::backward_rate() const { return 5.0 * product_flops(of) / backward; }

std::vector<AttentionCase> attention_cases(Device device) {
  std::vector<AttentionCase> cases;
  if (device.kind != DeviceKind::cuda) {
    constexpr std::int64_t rows = 4096;
    for (std::int64_t tokens = 64; tokens <= rows; tokens *= 4) {
      RowMaps::for_each([&](const RowMap& map) {
        cases.push_back({.batch = rows / tokens, .heads = 6, .tokens = tokens, .head_dim = 64, .map = map});
      });
    }
    return cases;
  }
  for (AttentionCase of : {AttentionCase{.batch = 16, .heads = 12, .tokens = 1024, .head_dim = 64},
                           AttentionCase{.batch = 8, .heads = 16, .tokens = 4096, .head_dim = 128}}) {
    of.dtype = DType::bf16;
    for (const Path path : {Path::cudnn, Path::fused, Path::unfused}) {
      of.path = path;
      cases.push_back(of);
    }
    of.path = Path::fused;
    RowMaps::for_each([&](const RowMap& map) {
      of.map = map;
      if (!as<SoftmaxMap>(map)) cases.push_back(of);
    });
  }
  return cases;
}

AttentionTiming time_attention(Device device, const AttentionCase& of, double seconds) {
  Backend& backend = backend_of(device);
  backend.configure({.attention = of.path});
  AttentionTiming timing{.of = of};
  try {
    time_calls(backend, seconds, timing);
  } catch (const RunError& problem) {
    timing = {.of = of, .notes = {problem.what()}};
  }
  backend.configure({});
  backend.memory().trim();
  return timing;
}

void print_attention_text(Device device, const std::vector<AttentionTiming>& timings) {
  fmt::print("attention on {}, causal; ms, and TFLOP/s of the causal half\n\n", backend_of(device).description());
  fmt::print("{:<10} {:<8} {:<6} {:>18} {:>9} {:>8} {:>9} {:>8} {:>9} {:>6} {:>11}\n", "kind", "path", "dtype",
             "B x H x T x D", "forward", "TFLOP/s", "backward", "TFLOP/s", "with row", "ratio", "work space");
  for (const AttentionTiming& t : timings) {
    const AttentionCase& c = t.of;
    fmt::print("{:<10} {:<8} {:<6} {:>18} ", name_of(c.map), device.kind == DeviceKind::cuda ? path_name(c.path) : "-",
               name_of(c.dtype), fmt::format("{} x {} x {} x {}", c.batch, c.heads, c.tokens, c.head_dim));
    if (t.forward == 0.0) {
      fmt::print("{}\n", t.notes.front());
      continue;
    }
    const bool solves = t.row_backward > 0.0;
    fmt::print("{:>9.3f} {:>8.2f} {:>9.3f} {:>8.2f} {:>9} {:>6} {:>11}\n", 1e3 * t.forward, 1e-12 * t.forward_rate(),
               1e3 * t.backward, 1e-12 * t.backward_rate(), solves ? fmt::format("{:.3f}", 1e3 * t.row_backward) : "-",
               solves ? fmt::format("{:.2f}", t.row_backward / t.backward) : "-",
               train::bytes_text(static_cast<double>(t.scratch)));
  }
  for (const AttentionTiming& t : timings) {
    if (t.forward == 0.0) continue;
    for (const std::string& note : t.notes) fmt::print("note: {} asked for: {}\n", path_name(t.of.path), note);
  }
}

Json attention_json(const std::vector<AttentionTiming>& timings) {
  Json out = Json::array();
  for (const AttentionTiming& t : timings) {
    const AttentionCase& c = t.of;
    Json entry{{"kind", name_of(c.map)}, {"path", path_name(c.path)}, {"dtype", name_of(c.dtype)}, {"batch", c.batch},
               {"heads", c.heads},       {"tokens", c.tokens},        {"head_dim", c.head_dim},    {"notes", t.notes}};
    if (t.forward > 0.0) {
      entry["forward_milliseconds"] = 1e3 * t.forward;
      entry["backward_milliseconds"] = 1e3 * t.backward;
      entry["forward_flops_per_second"] = t.forward_rate();
      entry["backward_flops_per_second"] = t.backward_rate();
      entry["scratch_bytes"] = t.scratch;
    }
    if (t.row_backward > 0.0) entry["row_backward_milliseconds"] = 1e3 * t.row_backward;
    out.push_back(std::move(entry));
  }
  return out;
}

}  // namespace monge::tools
