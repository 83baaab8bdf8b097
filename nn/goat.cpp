#include "nn/goat.h"

#include <algorithm>
#include <cmath>

#include "core/backend.h"

namespace monge::nn {
namespace {

constexpr std::int64_t hidden = 4;  // of the mlp of u, and the next three: what the authors' code starts with
constexpr double mlp_stddev = 1e-3;
constexpr double wave_stddev = 1e-2;
constexpr double flat_slope = 1e-3;  // small, but a softplus that can still move

/// w_0 = 1 .. w_(count - 1) = 1 / base.
double frequency(std::int64_t r, std::int64_t count, double base) {
  return std::pow(base, -static_cast<double>(r) / static_cast<double>(std::max<std::int64_t>(count - 1, 1)));
}

/// Appends cos w_r t for every r, then sin w_r t.
void add_waves(double t, std::int64_t count, double base, std::vector<double>& out) {
  for (std::int64_t r = 0; r < count; ++r) out.push_back(std::cos(frequency(r, count, base) * t));
  for (std::int64_t r = 0; r < count; ++r) out.push_back(std::sin(frequency(r, count, base) * t));
}

}  // namespace

void GoatOptions::fields(Fields& f) {
  f("frequencies", frequencies, {.doc = "waves of the distance; 0: none", .min = 0, .max = 1024});
  f("key_frequencies", key_frequencies, {.doc = "waves of a key's position that u(j) reads", .min = 0, .max = 1024});
  f("base", base,
    {.doc = "wavelengths run from 2 pi to 2 pi base", .unit = "tokens", .min = 1.0, .exclusive_min = true});
  f("length", length,
    {.doc = "a key's position is read as a share of it. A number of its own, for it must not change when longer "
            "sequences are read",
     .unit = "tokens",
     .min = 1});
  f("start", start,
    {.doc = "alibi: recency with the slopes of ALiBi, small random waves; flat: a prior of nearly nothing",
     .choices = {"alibi", "flat"}});
}

GoatPrior::GoatPrior(const GoatOptions& options, const LayerContext& c)
    : options_(options),
      heads_(c.heads),
      kv_heads_(c.kv_heads),
      context_(c.context),
      recency_(add_parameter("recency", {c.kv_heads}, Role::bias, Init::constant(0.0))),
      up_(add_parameter("up", {hidden, 2 * options.key_frequencies + 2}, Role::bias, Init::normal(mlp_stddev))),
      up_bias_(add_parameter("up_bias", {hidden}, Role::bias, Init::constant(0.0))),
      down_(add_parameter("down", {1, hidden}, Role::bias, Init::normal(options.start == "flat" ? 0.0 : mlp_stddev))),
      gain_(add_parameter("gain", {c.kv_heads}, Role::bias, Init::constant(1.0))),
      first_(add_parameter("first", {c.kv_heads}, Role::bias, Init::constant(0.0))) {
  if (options.frequencies == 0) return;
  const double stddev = options.start == "flat" ? 0.0 : wave_stddev;
  cosine_ = &add_parameter("cosine", {kv_heads_, options.frequencies}, Role::bias, Init::normal(stddev));
  sine_ = &add_parameter("sine", {kv_heads_, options.frequencies}, Role::bias, Init::constant(0.0));
}

Var GoatPrior::of_distance(std::int64_t n, Device device) const {
  const Tables& t = tables(n, device);
  const DType dtype = t.behind.dtype();
  const Var recency = autograd::add(autograd::cast(recency_, dtype), t.offset);
  const Var slope = autograd::log(autograd::add(autograd::exp(recency), t.one));
  Var prior = autograd::mul(t.behind.slice(0, n), slope);
  if (cosine_ != nullptr) {
    const Var weights = autograd::concat({autograd::cast(*cosine_, dtype), autograd::cast(*sine_, dtype)}, 1);
    prior = autograd::add(prior, autograd::linear(t.waves.slice(0, n), weights));
  }
  return by_head(prior);
}

Var GoatPrior::of_key(std::int64_t n, Device device) const {
  const Tables& t = tables(n, device);
  const DType dtype = t.features.dtype();
  const Var features = t.features.slice(0, n);
  const Var h =
      autograd::linear(features, autograd::cast(up_, dtype), autograd::cast(up_bias_, dtype), Activation::silu);
  const Var u = autograd::linear(h, autograd::cast(down_, dtype));  // (n, 1)
  const auto column = [&](const Var& x) { return autograd::reshape(autograd::cast(x, dtype), {kv_heads_, 1}); };
  return by_head(
      autograd::add(autograd::linear(u, column(gain_)), autograd::linear(t.first.slice(0, n), column(first_))));
}

Var GoatPrior::by_head(const Var& x) const {
  const std::int64_t n = x.size(0);
  const Var rows = autograd::transpose(x, 0, 1);  // (G, n)
  if (heads_ == kv_heads_) return rows;
  const std::vector<Var> copies(static_cast<std::size_t>(heads_ / kv_heads_),
                                autograd::reshape(rows, {kv_heads_, 1, n}));
  return autograd::reshape(autograd::concat(copies, 1), {heads_, n});
}

const GoatPrior::Tables& GoatPrior::tables(std::int64_t n, Device device) const {
  if (tables_.n >= n && tables_.behind.device() == device) return tables_;
  const std::int64_t rows = std::max(n, context_), R = options_.frequencies, M = options_.key_frequencies;
  const double length = static_cast<double>(options_.length);
  std::vector<double> waves, behind, features, first(static_cast<std::size_t>(rows), 0.0), offset;
  first.front() = 1.0;
  for (std::int64_t i = 0; i < rows; ++i) {
    const double t = static_cast<double>(i);
    add_waves(t, R, options_.base, waves);
    behind.insert(behind.end(), static_cast<std::size_t>(kv_heads_), -t);
    add_waves(t, M, options_.base, features);
    features.push_back(t / length);
    features.push_back(std::log1p(t) / std::log1p(length));
  }
  for (const double slope : alibi_slopes(kv_heads_)) {
    offset.push_back(std::log(std::expm1(options_.start == "flat" ? flat_slope : slope)));
  }
  const auto table = [&](const std::vector<double>& values, std::int64_t columns) {
    const auto count = static_cast<std::int64_t>(values.size()) / std::max<std::int64_t>(columns, 1);
    return Tensor::from(values, {count, columns}, backend_of(device).default_float(), device, Pool::parameters);
  };
  tables_ = {.n = rows,
             .waves = R > 0 ? table(waves, 2 * R) : Tensor(),
             .behind = table(behind, kv_heads_),
             .features = table(features, 2 * M + 2),
             .first = table(first, 1),
             .offset = table(offset, kv_heads_).reshape({kv_heads_}),
             .one = table({1.0}, 1)};
  return tables_;
}

}  // namespace monge::nn
