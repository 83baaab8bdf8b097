#include "nn/attention/attention.h"

#include <cmath>

#include "core/error.h"

namespace monge::nn {
namespace {

/// The packed projections of the tokens seen so far, of which attention reads keys and values.
struct ProjectionCache : Cache {
  Tensor qkv;  // (B, context, (H + 2 G) D)
};

}  // namespace

/// LayerNorm of every query and key head on its own, the gains shared by the heads (Henry et al. 2020,
/// arXiv:2010.04245; Dehghani et al. 2023, arXiv:2302.05442). Values pass through.
class QueryKeyNorm : public Module {
 public:
  QueryKeyNorm(std::int64_t heads, std::int64_t kv_heads, std::int64_t head_dim)
      : heads_(heads),
        kv_heads_(kv_heads),
        head_dim_(head_dim),
        gain_(add_parameter("gain", {2, head_dim}, Role::gain, Init::constant(1.0))) {}

  /// qkv (B, T, (H + 2 G) D). With `trains_gain` false the gain is a constant.
  Var forward(const Var& qkv, bool trains_gain) const {
    const Var gain = trains_gain ? gain_.var() : Var(gain_.var().value());
    const auto normalised = [&](std::int64_t which, std::int64_t first, std::int64_t heads) {
      const Var part = autograd::slice(qkv, -1, first * head_dim_, (first + heads) * head_dim_);
      const Var by_head = autograd::reshape(part, {part.shape().rows(), heads, head_dim_});
      const Var own_gain = autograd::reshape(autograd::slice(gain, which, which + 1), {head_dim_});
      return autograd::reshape(autograd::layer_norm(by_head, own_gain, {}), part.shape());
    };
    const Var values = autograd::slice(qkv, -1, (heads_ + kv_heads_) * head_dim_, qkv.size(-1));
    return autograd::concat({normalised(0, 0, heads_), normalised(1, heads_, kv_heads_), values}, -1);
  }

 private:
  std::int64_t heads_, kv_heads_, head_dim_;
  Parameter& gain_;  // (2, D): of queries and of keys
};

void AttentionOptions::fields(Fields& f) {
  f("qk_norm", qk_norm, {.doc = "LayerNorm of every query and key head, which bounds the scores"});
  f("relative_prior", relative_prior, {.doc = "a learned log-prior for each head and distance, 0 at the start"});
  f("key_prior", key_prior,
    {.doc = "a learned log-prior for each head and position of the key (a sink is one that grows), 0 at the start"});
}

RowMapAttention::RowMapAttention(RowMap map, const AttentionOptions& options, const LayerContext& c, Position& position,
                                 const HeadBias& bias)
    : heads_(c.heads),
      kv_heads_(c.kv_heads),
      head_dim_(c.head_dim()),
      context_(c.context),
      map_(std::move(map)),
      position_(position),
      position_prior_(position.make_prior()),
      qkv_({.in = c.width,
            .out = (c.heads + 2 * c.kv_heads) * c.head_dim(),
            .bias = c.bias,
            .parts = {{"q", c.heads * c.head_dim(), c.heads},
                      {"k", c.kv_heads * c.head_dim(), c.kv_heads},
                      {"v", c.kv_heads * c.head_dim(), c.kv_heads}}}),
      out_({.in = c.width, .out = c.width, .bias = c.bias, .stddev = c.residual_stddev}),
      weight_dropout_(*c.dropout),
      head_bias_(bias.initial) {
  add_module("qkv", qkv_);
  add_module("out", out_);
  if (options.qk_norm) {
    query_key_norm_ = std::make_unique<QueryKeyNorm>(heads_, kv_heads_, head_dim_);
    add_module("qk_norm", *query_key_norm_);
  }
  if (position_prior_) add_module("prior", *position_prior_);
  if (options.relative_prior) {
    distance_prior_ = &add_parameter("relative_prior", {heads_, c.context}, Role::bias, Init::constant(0.0));
  }
  if (options.key_prior) {
    key_prior_ = &add_parameter("key_prior", {heads_, c.context}, Role::bias, Init::constant(0.0));
  }
  const auto given = static_cast<std::int64_t>(bias.initial.size());
  if (given > 1 && given != heads_) {
    throw KeyError("model.attention.bias",
                   fmt::format("{} numbers for {} heads; give one number, or one for each head", given, heads_));
  }
  if (given == 1) head_bias_.assign(static_cast<std::size_t>(heads_), bias.initial.front());
  if (bias.learned) head_prior_ = &add_parameter("bias", {heads_}, Role::bias, Init::constant(0.0));
}

RowMapAttention::~RowMapAttention() = default;

double RowMapAttention::scale() const { return 1.0 / std::sqrt(static_cast<double>(head_dim_)); }

void RowMapAttention::set_row_damping(std::optional<RowDamping> damping) {
  require(!damping || metric_of(map_) != Metric::none, "{} has no symmetric Jacobian, so no natural gradient",
          name_of(map_));
  row_damping_ = damping;
}

Var RowMapAttention::place(const Var& qkv, std::int64_t start, bool trains_gain) const {
  return position_.rotate(query_key_norm_ ? query_key_norm_->forward(qkv, trains_gain) : qkv, start);
}

autograd::AttentionSpec RowMapAttention::spec(std::int64_t keys, Device device) const {
  const auto var = [](const Parameter* p) { return p != nullptr ? p->var() : Var(); };
  const auto table = [&](const Parameter* learned, Var (PositionPrior::*of)(std::int64_t, Device) const) {
    if (!position_prior_) return var(learned);
    const Var prior = (*position_prior_.*of)(keys, device);
    if (learned == nullptr) return prior;
    return autograd::add(autograd::slice(autograd::cast(*learned, prior.value().dtype()), 1, 0, keys), prior);
  };
  Var head_prior = var(head_prior_);
  if (!head_bias_.empty()) {
    const DType dtype = head_prior.defined() ? head_prior.value().dtype() : backend_of(device).default_float();
    if (!fixed_bias_.defined() || !(fixed_bias_.device() == device)) {
      fixed_bias_ = Tensor::from(head_bias_, {heads_}, dtype, device, Pool::parameters);
    }
    head_prior = head_prior.defined() ? autograd::add(head_prior, Var(fixed_bias_)) : Var(fixed_bias_);
  }
  return {.heads = heads_,
          .kv_heads = kv_heads_,
          .causal = true,
          .scale = scale(),
          .map = map_,
          .head_prior = head_prior,
          .distance_prior = table(distance_prior_, &PositionPrior::of_distance),
          .key_prior = table(key_prior_, &PositionPrior::of_key),
          .slopes = position_.slopes(device),
          .dropout = weight_dropout_.p(),
          .random = weight_dropout_.random(),
          .damping = row_damping_.value_or(RowDamping{})};
}

Var RowMapAttention::forward(const Var& x) {
  const autograd::AttentionSpec how = spec(x.size(1), x.value().device());
  Var qkv, row_qkv;
  if (row_damping_) {
    const autograd::SplitLinear projected = qkv_.split(x);
    qkv = place(projected.for_input, 0, true);
    row_qkv = place(projected.for_weight, 0, false);
  } else {
    qkv = place(qkv_.forward(x), 0, true);
  }
  if (observer_ != nullptr && autograd::Tape::recording()) {
    observer_->observe({x.value(), qkv.value(), autograd::attention_call(qkv.value(), how), &position_});
  }
  return out_.forward(autograd::attention(qkv, how, row_qkv));
}

std::unique_ptr<Cache> RowMapAttention::make_cache(const CacheContext& context) const {
  const std::int64_t width = (heads_ + 2 * kv_heads_) * head_dim_;
  auto cache = std::make_unique<ProjectionCache>();
  cache->qkv = Tensor::zeros({context.batch, context_, width}, context.dtype, context.device);
  return cache;
}

Var RowMapAttention::forward_cached(const Var& x, Cache& cache, std::int64_t start) {
  return out_.forward(attend_to_all(place(qkv_.forward(x), start, true).value(), cache, start));
}

// Queries of the new tokens against the keys and values of all tokens so far.
Tensor RowMapAttention::attend_to_all(const Tensor& qkv, Cache& cache, std::int64_t start) const {
  const Tensor& seen = dynamic_cast<ProjectionCache&>(cache).qkv;
  const std::int64_t batch = qkv.size(0), tokens = qkv.size(1), width = qkv.size(2);
  require(start + tokens <= context_, "[attention] {} tokens after {} do not fit into a cache of {}", tokens, start,
          context_);
  Backend& backend = qkv.backend();
  for (std::int64_t b = 0; b < batch; ++b) {
    backend.copy(
        {.from = qkv.slice(b, b + 1), .to = seen.flat_view((b * context_ + start) * width, {1, tokens, width})});
  }
  kernel::Attention call = autograd::attention_call(qkv, spec(start + tokens, qkv.device()));
  const Tensor out = Tensor::empty({batch, tokens, heads_ * head_dim_}, qkv.dtype(), qkv.device());
  const auto in_cache = [&](const HeadView& view) { return HeadView{seen, view.offset, width, context_ * width}; };
  call.keys = start + tokens;
  call.start = start;
  call.dropout = 0.0;
  call.k = in_cache(call.k);
  call.v = in_cache(call.v);
  call.out = {out, 0, heads_ * head_dim_, tokens * heads_ * head_dim_};
  call.row_stat = Tensor::empty({batch, heads_, tokens}, backend.default_float(), qkv.device());
  backend.attention(call);
  return out;
}

}  // namespace monge::nn
