#include "core/cuda/fused/attention.h"

#include <limits>
#include <string>

#include "core/cuda/fused/call.cuh"
#include "core/cuda/warp_row.h"

namespace monge::MONGE_GPU {
namespace {

/// Why the kernels cannot read or write these heads, which they do 16 bytes at a time; empty when they can.
std::string view_refusal(const char* name, const HeadView& view) {
  constexpr std::int64_t unit = 16 / sizeof(bf16);
  if (view.data.dtype() != DType::bf16)
    return std::string(name) + " is " + std::string(name_of(view.data.dtype())) + ", not bf16";
  const auto address = reinterpret_cast<std::uintptr_t>(view.data.data());
  if (address % 16 != 0 || view.offset % unit != 0 || view.token_stride % unit != 0 || view.batch_stride % unit != 0) {
    return "the heads of " + std::string(name) + " do not start on multiples of 16 bytes";
  }
  return {};
}

Heads heads_of(const HeadView& view) {
  if (!view.data) return {};
  return {view.data.data_as<bf16>() + view.offset, view.token_stride, view.batch_stride};
}

FusedCall call_of(const kernel::Attention& a) {
  FusedCall c{};
  c.batch = static_cast<int>(a.batch);
  c.queries = static_cast<int>(a.queries);
  c.keys = static_cast<int>(a.keys);
  c.heads = static_cast<int>(a.heads);
  c.kv_heads = static_cast<int>(a.kv_heads);
  c.causal = a.causal;
  c.scale = static_cast<float>(a.scale);
  c.slopes = a.prior.slopes ? a.prior.slopes.data_as<float>() : nullptr;
  c.dropout = dropout_of(a.random, a.dropout);
  c.q = heads_of(a.q);
  c.k = heads_of(a.k);
  c.v = heads_of(a.v);
  c.out = heads_of(a.out);
  c.row_stat = a.row_stat.data_as<float>();
  return c;
}

RowStatistic statistic_of(const RowMap& map) {
  RowStatistic statistic{};
  RowMaps::visit(map, [&](const auto& of_kind) { statistic = of_kind.statistic; });
  return statistic;
}

/// Calls f with the number of the map's shard, as a std::integral_constant.
template <std::size_t shard = 0, class F>
void with_shard(const RowMap& map, const F& f) {
  if constexpr (shard < fused_shards) {
    map.index() % fused_shards == shard ? f(std::integral_constant<std::size_t, shard>())
                                        : with_shard<shard + 1>(map, f);
  }
}

}  // namespace

std::string fused_refusal(const kernel::Attention& a) {
  constexpr std::int64_t most = std::numeric_limits<int>::max() / 2;
  if (custom_of(a.map) != nullptr) return "a custom map runs on host backends only";
  if (a.head_dim != 64 && a.head_dim != 128) return "head_dim is " + std::to_string(a.head_dim) + ", not 64 or 128";
  if (a.prior.head || a.prior.distance || a.prior.key) return "of the priors it knows ALiBi slopes only";
  if (a.spans) return "the queries have spans of keys of their own";
  if (a.start != 0) return "the queries start behind a cache of keys";
  if (a.keys == 0) return "there are no keys";
  if (!(a.scale > 0.0)) return "the scale is " + std::to_string(a.scale) + ", not positive";
  if (a.queries > most || a.keys > most || a.batch * a.heads > most) return "it has more rows than fit an int";
  for (const auto& [name, view] : {std::pair{"q", &a.q}, {"k", &a.k}, {"v", &a.v}, {"out", &a.out}}) {
    const std::string reason = view_refusal(name, *view);
    if (!reason.empty()) return reason;
  }
  return {};
}

std::string fused_refusal(const kernel::AttentionBackward& args) {
  const std::string reason = fused_refusal(args.forward);
  if (!reason.empty()) return reason;
  for (const auto& [name, view] : {std::pair{"dout", &args.dout},
                                   {"dq", &args.dq},
                                   {"dk", &args.dk},
                                   {"dv", &args.dv},
                                   {"row_dq", &args.row_dq},
                                   {"row_dk", &args.row_dk},
                                   {"row_dv", &args.row_dv}}) {
    const std::string of_view = view->data ? view_refusal(name, *view) : "";
    if (!of_view.empty()) return of_view;
  }
  return {};
}

bool fused_needs_row_stat(const RowMap& map) { return statistic_of(map) == RowStatistic::whole_row; }

void fused_attention(Stream stream, const kernel::Attention& args) {
  const FusedCall call = call_of(args);
  with_shard(args.map, [&](auto shard) { fused_forward<shard>(args.map, call, args.head_dim, stream); });
}

void fused_attention_backward(Stream stream, const kernel::AttentionBackward& args) {
  const kernel::Attention& a = args.forward;
  FusedCall call = call_of(a);
  call.dout = heads_of(args.dout);
  call.dq = heads_of(args.dq);
  call.dk = heads_of(args.dk);
  call.dv = heads_of(args.dv);
  call.row_dq = heads_of(args.row_dq);
  call.row_dk = heads_of(args.row_dk);
  call.row_dv = heads_of(args.row_dv);
  call.damping = static_cast<float>(args.damping.lambda);
  call.damping_scale = args.damping.scale;

  const bool solves = args.row_dq.data.defined();
  const auto rows = [&] {
    return Tensor::empty({a.batch, a.heads, a.queries}, DType::f32, a.row_stat.device(), Pool::scratch);
  };
  const bool separable = statistic_of(a.map) == RowStatistic::none;
  Tensor baseline, row_baseline, lambda;
  if (!separable) call.baseline = (baseline = rows()).data_as<float>();
  if (!separable && solves) call.row_baseline = (row_baseline = rows()).data_as<float>();
  if (solves && args.damping.scale == RowDamping::Scale::trace) call.row_lambda = (lambda = rows()).data_as<float>();
  with_shard(a.map, [&](auto shard) { fused_backward<shard>(a.map, call, a.head_dim, solves, stream); });
}

}  // namespace monge::MONGE_GPU
