#include "core/cuda/unfused/rows.h"

#include "core/cuda/pack.h"
#include "core/cuda/warp_row.h"

namespace monge::MONGE_GPU {
namespace {

constexpr unsigned row_warps = 4;  // rows in a block

/// The row of the running warp. Keys are counted from the first that it sees.
struct Query {
  std::int64_t row, head, i;
  std::int64_t stat;   // its place in row_stat, and its row number in the dropout stream
  std::int64_t begin;  // its first key in a buffer of scores
  kernel::KeySpan span;

  __device__ Query(const RowsPlan& plan, std::int64_t r) : row(r), i(r % plan.queries) {
    const std::int64_t h = r / plan.queries % plan.heads, b = plan.first + r / (plan.queries * plan.heads);
    head = plan.first_head + h;
    stat = (b * plan.all_heads + head) * plan.queries + i;
    span = plan.spans.at(b, i);
    begin = row * plan.keys + span.begin;
  }
  __device__ std::int64_t visible() const { return span.size(); }
};

/// Calls f(query) with the row of the running warp, if there is one: for whole warps.
template <class F>
__device__ void for_this_row(const RowsPlan& plan, const F& f) {
  const std::int64_t row = static_cast<std::int64_t>(blockIdx.x) * row_warps + threadIdx.x / warp_width;
  if (row < plan.rows) f(Query(plan, row));
}

__device__ float term(const PriorTable& table, std::int64_t head, std::int64_t index) {
  return table.data == nullptr ? 0.0f : table.data[head * table.width + index];
}

__device__ float logit(const RowsPlan& plan, const Query& at, std::int64_t j, float product) {
  const std::int64_t offset = at.span.position - j, distance = offset < 0 ? -offset : offset;
  return plan.scale * product + term(plan.prior.head, at.head, 0) + term(plan.prior.distance, at.head, distance) +
         term(plan.prior.key, at.head, j) - term(plan.prior.slopes, at.head, 0) * static_cast<float>(distance);
}

/// What dropout multiplies weight j by.
__device__ float kept(const RowsPlan& plan, const Query& at, std::int64_t j) {
  return plan.drops ? plan.dropout.factor(plan.dropout.draw.word(at.stat * plan.keys + at.span.begin + j)) : 1.0f;
}

/// Keys before and behind those that are seen become 0 in a buffer of rows of `keys`.
template <class T>
__device__ void clear_unseen(T* buffer, const Query& at, std::int64_t keys) {
  T* const row = buffer + at.row * keys;
  for (std::int64_t j = threadIdx.x % warp_width; j < at.span.begin; j += warp_width) row[j] = static_cast<T>(0.0f);
  for (std::int64_t j = at.span.end + threadIdx.x % warp_width; j < keys; j += warp_width)
    row[j] = static_cast<T>(0.0f);
}

template <class Map, class T>
__global__ void rows_kernel(Map map, RowsPlan plan, float* scores, T* weights, float* row_stat) {
  for_this_row(plan, [&](const Query& at) {
    float* const z = scores + at.begin;
    WarpRow row(z, at.visible());
    row.each_index([&](std::int64_t j) { z[j] = logit(plan, at, j, z[j]); });
    const float stat = map.weights(row);
    if (threadIdx.x % warp_width == 0) row_stat[at.stat] = stat;
    if (weights == nullptr) return;
    T* const out = weights + at.begin;
    row.each_index([&](std::int64_t j) { out[j] = static_cast<T>(kept(plan, at, j) * z[j]); });
    clear_unseen(weights, at, plan.keys);
  });
}

template <class T>
struct RowPointers {
  float *scores, *gradients;
  T *dz, *weights, *row_dz;
  const float* row_stat;
};

__device__ float damping_of(const RowDamping& damping, float n, float trace) {
  const float lambda = static_cast<float>(damping.lambda);
  switch (damping.scale) {
    case RowDamping::Scale::per_key: return lambda / n;
    case RowDamping::Scale::absolute: return lambda;
    case RowDamping::Scale::trace: return lambda * fmaxf(trace, static_cast<float>(RowDamping::least_trace)) / n;
  }
  return lambda;
}

// With u_j = keep_j <dO, v_j>: dz = s (u - <s, u> / c), and the row solve w (u - <w, u> / (<w, 1> + slack / lambda)),
// w = s / (s + lambda), as core/row_map/row_map.h says.
template <class Map, class T>
__global__ void rows_backward_kernel(Map map, RowsPlan plan, RowPointers<T> p, RowDamping damping) {
  for_this_row(plan, [&](const Query& at) {
    const std::int64_t begin = at.begin;
    float *const z = p.scores + begin, *const u = p.gradients + begin;
    const float stat = p.row_stat[at.stat], n = static_cast<float>(at.visible());
    WarpRow row(z, at.visible());
    row.each_index([&](std::int64_t j) {
      z[j] = logit(plan, at, j, z[j]);
      u[j] *= kept(plan, at, j);
    });
    const auto finish = [&](std::int64_t j, float a, float dz) {  // the last look at element j
      p.weights[begin + j] = static_cast<T>(kept(plan, at, j) * a);
      p.dz[begin + j] = static_cast<T>(dz);
      z[j] = dz;
    };
    if constexpr (Map::metric == Metric::none) {
      float weights_dot_u = 0.0f;
      row.each_index([&](std::int64_t j) { weights_dot_u += weight_of(map, z[j], stat, at.visible()) * u[j]; });
      weights_dot_u = warp_sum(weights_dot_u);
      row.each_index([&](std::int64_t j) {
        finish(j, weight_of(map, z[j], stat, at.visible()),
               map.template backward<WarpRow>(z[j], u[j], stat, weights_dot_u));
      });
    } else {
      map.recompute(row, stat);
      const float slack = map.template slack<WarpRow>(stat);
      const auto curvature = [&](std::int64_t j) { return map.template curvature<WarpRow>(z[j], n); };
      float total = 0.0f, weighted = 0.0f, squares = 0.0f;
      row.each_index([&](std::int64_t j) {
        const float s = curvature(j);
        total += s;
        weighted += s * u[j];
        squares += s * s;
      });
      total = warp_sum(total);
      weighted = warp_sum(weighted);
      squares = warp_sum(squares);
      const float c = total + slack, mean = c > 0.0f ? weighted / c : 0.0f;
      if (p.row_dz != nullptr) {
        const float lambda = damping_of(damping, n, total - squares / c);
        float all = 0.0f, along = 0.0f;
        row.each_index([&](std::int64_t j) {
          const float w = curvature(j) / (curvature(j) + lambda);
          all += w;
          along += w * u[j];
        });
        all = warp_sum(all) + slack / lambda;
        along = warp_sum(along);
        const float centre = all > 0.0f ? along / all : 0.0f;
        row.each_index([&](std::int64_t j) {
          p.row_dz[begin + j] = static_cast<T>(curvature(j) / (curvature(j) + lambda) * (u[j] - centre));
        });
      }
      row.each_index([&](std::int64_t j) { finish(j, z[j], curvature(j) * (u[j] - mean)); });
    }
    clear_unseen(p.scores, at, plan.keys);
    clear_unseen(p.dz, at, plan.keys);
    clear_unseen(p.weights, at, plan.keys);
    if (p.row_dz != nullptr) clear_unseen(p.row_dz, at, plan.keys);
  });
}

template <class Map>
__global__ void rows_metric_kernel(Map map, RowsPlan plan, float* scores, float* curvature) {
  for_this_row(plan, [&](const Query& at) {
    float *const z = scores + at.begin, *const s = curvature + at.begin;
    WarpRow row(z, at.visible());
    row.each_index([&](std::int64_t j) { z[j] = logit(plan, at, j, z[j]); });
    const float stat = map.weights(row), n = static_cast<float>(at.visible());
    float total = 0.0f;
    row.each_index([&](std::int64_t j) { total += s[j] = map.template curvature<WarpRow>(z[j], n); });
    const float c = warp_sum(total) + map.template slack<WarpRow>(stat), share = c > 0.0f ? rsqrtf(c) : 0.0f;
    row.each_index([&](std::int64_t j) { z[j] = share * s[j]; });
    clear_unseen(scores, at, plan.keys);
    clear_unseen(curvature, at, plan.keys);
  });
}

/// Calls f(dz of its keys, span) for the rows of head h.
template <class F>
__device__ void for_each_row_of(const RowsPlan& plan, const float* dz, std::int64_t h, const F& f) {
  const std::int64_t sequences = plan.rows / (plan.heads * plan.queries);
  for (std::int64_t b = 0; b < sequences; ++b) {
    for (std::int64_t i = 0; i < plan.queries; ++i) {
      const kernel::KeySpan span = plan.spans.at(plan.first + b, i);
      f(dz + ((b * plan.heads + h) * plan.queries + i) * plan.keys + span.begin, span);
    }
  }
}

/// keys (H, S) += the sum of dz over sequences and queries; a thread for each.
__global__ void key_sums_kernel(RowsPlan plan, const float* dz, float* keys, std::int64_t width) {
  for_each_pack<1>(plan.heads * plan.keys, [&](std::int64_t index, int) {
    const std::int64_t h = index / plan.keys, j = index % plan.keys;
    float total = 0.0f;
    for_each_row_of(plan, dz, h, [&](const float* row, const kernel::KeySpan& span) {
      if (j < span.size()) total += row[j];
    });
    keys[(plan.first_head + h) * width + j] += total;
  });
}

/// distances (H, width) += the sum of dz over the pairs at that distance; a thread for each.
__global__ void distance_sums_kernel(RowsPlan plan, const float* dz, float* distances, std::int64_t width) {
  for_each_pack<1>(plan.heads * width, [&](std::int64_t index, int) {
    const std::int64_t h = index / width, distance = index % width;
    float total = 0.0f;
    for_each_row_of(plan, dz, h, [&](const float* row, const kernel::KeySpan& span) {
      const std::int64_t before = span.position - distance, after = span.position + distance;
      if (before >= 0 && before < span.size()) total += row[before];
      if (distance > 0 && after < span.size()) total += row[after];
    });
    distances[(plan.first_head + h) * width + distance] += total;
  });
}

/// heads (H) += the sum of all dz of a head; a warp for each.
__global__ void head_sums_kernel(RowsPlan plan, const float* dz, float* heads) {
  const std::int64_t sequences = plan.rows / (plan.heads * plan.queries), per_head = plan.queries * plan.keys;
  float total = 0.0f;
  for (std::int64_t b = 0; b < sequences; ++b) {
    const float* const block = dz + (b * plan.heads + blockIdx.x) * per_head;
    for (std::int64_t k = threadIdx.x; k < per_head; k += warp_width) total += block[k];
  }
  total = warp_sum(total);
  if (threadIdx.x == 0) heads[plan.first_head + blockIdx.x] += total;
}

dim3 rows_grid(const RowsPlan& plan) { return dim3(static_cast<unsigned>(pieces<std::int64_t>(plan.rows, row_warps))); }

}  // namespace

void attention_rows(Runtime& runtime, const RowMap& map, const RowsPlan& plan, const Tensor& scores,
                    const Tensor& weights, const Tensor& row_stat) {
  RowMaps::visit(map, [&](const auto& of_kind) {
    visit_float(weights ? weights.dtype() : DType::f32, [&](auto type) {
      using T = typename decltype(type)::type;
      using Map = std::decay_t<decltype(of_kind)>;
      launch(rows_kernel<Map, T>, rows_grid(plan), row_warps * warp_width, 0, runtime.stream(), of_kind, plan,
             scores.data_as<float>(), weights ? weights.data_as<T>() : nullptr, row_stat.data_as<float>());
    });
  });
}

void attention_rows_backward(Runtime& runtime, const RowMap& map, const RowsPlan& plan, const RowGradients& rows,
                             const RowDamping& damping) {
  RowMaps::visit(map, [&](const auto& of_kind) {
    visit_float(rows.dz.dtype(), [&](auto type) {
      using T = typename decltype(type)::type;
      using Map = std::decay_t<decltype(of_kind)>;
      const RowPointers<T> pointers{rows.scores.data_as<float>(),
                                    rows.gradients.data_as<float>(),
                                    rows.dz.data_as<T>(),
                                    rows.weights.data_as<T>(),
                                    rows.row_dz ? rows.row_dz.data_as<T>() : nullptr,
                                    rows.row_stat.data_as<float>()};
      launch(rows_backward_kernel<Map, T>, rows_grid(plan), row_warps * warp_width, 0, runtime.stream(), of_kind, plan,
             pointers, damping);
    });
  });
}

void attention_rows_metric(Runtime& runtime, const RowMap& map, const RowsPlan& plan, const Tensor& scores,
                           const Tensor& curvature) {
  RowMaps::visit(map, [&](const auto& of_kind) {
    using Map = std::decay_t<decltype(of_kind)>;
    if constexpr (Map::metric != Metric::none) {
      launch(rows_metric_kernel<Map>, rows_grid(plan), row_warps * warp_width, 0, runtime.stream(), of_kind, plan,
             scores.data_as<float>(), curvature.data_as<float>());
    }
  });
}

void add_prior_gradients(Runtime& runtime, const RowsPlan& plan, const Tensor& dz, const LogPrior& dprior) {
  const auto* const x = dz.data_as<float>();
  if (dprior.head) {
    launch(head_sums_kernel, dim3(static_cast<unsigned>(plan.heads)), warp_width, 0, runtime.stream(), plan, x,
           dprior.head.data_as<float>());
  }
  const auto add = [&](auto kernel, const Tensor& table, std::int64_t used) {
    if (!table) return;
    launch(kernel, elementwise_grid(plan.heads * used, 1), elementwise_block, 0, runtime.stream(), plan, x,
           table.data_as<float>(), table.shape().last());
  };
  add(key_sums_kernel, dprior.key, plan.keys);
  add(distance_sums_kernel, dprior.distance, dprior.distance ? dprior.distance.shape().last() : 0);
}

}  // namespace monge::MONGE_GPU
