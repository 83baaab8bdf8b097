// Embedding and cross-entropy.
#include <cmath>
#include <numeric>

#include "core/cpu/cpu_backend.h"
#include "core/cpu/parallel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/cpu/loss.cpp"
#include "core/cpu/simd.h"

#include "core/cpu/philox.h"

HWY_BEFORE_NAMESPACE();
namespace monge::cpu::HWY_NAMESPACE {

/// dtable[id] += sum of the rows of dout with this id, in the order of the rows. `sorted` holds row numbers in the
/// order of their ids, `id_end` (by id) one past the last place of the id in it. Work is shared by tiles of columns and
/// by chunks of `sorted`; an id belongs to the chunk where its rows begin.
void ScatterAdd(const Tensor& sorted, const Tensor& id_end, const Tensor& ids, const Tensor& dout,
                const Tensor& dtable) {
  constexpr std::int64_t tile = 256;
  const std::int64_t C = dtable.size(1), count = sorted.numel();
  const std::int64_t chunk = rows_per_chunk(tile), tiles = chunk_count(C, tile);
  const std::int32_t* rows = sorted.data_as<std::int32_t>();
  const std::int32_t* id_of = ids.data_as<std::int32_t>();
  const auto add = [](Floats a, Floats v) HWY_ATTR { return hn::Add(a, v); };
  with_storage(dout.dtype(), [&](auto x_zero) HWY_ATTR {
    const auto* x = dout.data_as<const decltype(x_zero)>();
    with_storage(dtable.dtype(), [&](auto y_zero) HWY_ATTR {
      auto* y = dtable.data_as<decltype(y_zero)>();
      parallel_items(chunk_count(count, chunk) * tiles, [&](std::int64_t item, int) HWY_ATTR {
        HWY_ALIGN float acc[tile];
        const std::int64_t begin = item / tiles * chunk, end = std::min(count, begin + chunk);
        const std::int64_t column = item % tiles * tile, width = std::min(tile, C - column);
        for (std::int64_t i = begin; i < end;) {
          const std::int64_t id = id_of[rows[i]], stop = id_end.data_as<std::int32_t>()[id];
          const bool begins_here = i == 0 || id_of[rows[i - 1]] != id;
          if (begins_here) {
            std::fill_n(acc, width, 0.0f);
            for (std::int64_t k = i; k < stop; ++k) map(width, acc, add, acc, x + rows[k] * C + column);
            map(width, y + id * C + column, add, y + id * C + column, acc);
          }
          i = stop;
        }
      });
    });
  });
}

/// Finds the tile of the row in which the summed probabilities pass the drawn number, then the class in it.
void Sample(const kernel::SampleTargets& args) {
  constexpr std::int64_t tile = 256;
  const std::int64_t N = args.logits.shape().rows(), V = args.logits.shape().last();
  const std::uint32_t step = step_of(args.random);
  with_storage(args.logits.dtype(), [&](auto zero) HWY_ATTR {
    const auto* values = args.logits.data_as<const decltype(zero)>();
    parallel_rows(N, V, [&](std::int64_t first, std::int64_t last) HWY_ATTR {
      for (std::int64_t r = first; r < last; ++r) {
        std::int32_t& target = args.targets.data_as<std::int32_t>()[r];
        if (target < 0 || target >= V) continue;
        const auto* z = values + r * V;
        const float largest = max_of(V, z);
        const Floats shift = splat(largest);
        const auto mass = [&](std::int64_t begin, std::int64_t count) HWY_ATTR {
          return static_cast<double>(sum_of(
              count, [&](Floats v) HWY_ATTR { return exp(hn::Sub(v, shift)); }, z + begin));
        };
        const auto index = static_cast<std::uint64_t>(r);
        double left =
            to_unit(random_words(args.random.seed, args.random.stream, step, index / 4)[index % 4]) * mass(0, V);
        std::int64_t v = 0, end = std::min(V, tile);  // of a tile
        for (double in_tile = 0.0; end < V && left >= (in_tile = mass(v, end - v)); end = std::min(V, v + tile)) {
          left -= in_tile;
          v = end;
        }
        while (v < end - 1 && (left -= std::exp(static_cast<float>(z[v]) - largest)) >= 0.0) ++v;
        target = static_cast<std::int32_t>(v);
      }
    });
  });
}

void CrossEntropyRows(const kernel::CrossEntropy& args) {
  const std::int64_t N = args.logits.shape().rows(), V = args.logits.shape().last();
  const std::int32_t* targets = args.targets.data_as<std::int32_t>();
  with_storage(args.logits.dtype(), [&](auto zero) HWY_ATTR {
    const auto* logits = args.logits.data_as<const decltype(zero)>();
    parallel_rows(N, V, [&](std::int64_t begin, std::int64_t end) HWY_ATTR {
      for (std::int64_t r = begin; r < end; ++r) {
        const auto* z = logits + r * V;
        const float largest = max_of(V, z);
        const Floats shift = splat(largest);
        const double log_sum = std::log(static_cast<double>(sum_of(
            V, [&](Floats v) HWY_ATTR { return exp(hn::Sub(v, shift)); }, z)));
        const std::int64_t target = targets[r];
        const bool counts = target >= 0 && target < V;
        const double below = counts ? static_cast<double>(largest) - static_cast<float>(z[target]) : 0.0;
        args.lse.data_as<float>()[r] = static_cast<float>(largest + log_sum);
        args.losses.data_as<float>()[r] = counts ? static_cast<float>(below + log_sum) : 0.0f;
      }
    });
  });
}

void CrossEntropyBackwardRows(const kernel::CrossEntropyBackward& args) {
  const std::int64_t N = args.logits.shape().rows(), V = args.logits.shape().last();
  const std::int32_t* targets = args.targets.data_as<std::int32_t>();
  const float factor = args.dloss.data_as<float>()[0] * args.summary.data_as<float>()[1];
  with_storage(args.logits.dtype(), [&](auto zero) HWY_ATTR {
    using T = decltype(zero);
    T* logits = args.logits.data_as<T>();
    parallel_rows(N, V, [&](std::int64_t begin, std::int64_t end) HWY_ATTR {
      for (std::int64_t r = begin; r < end; ++r) {
        T* z = logits + r * V;
        const std::int64_t target = targets[r];
        if (target < 0 || target >= V) {
          std::fill_n(z, V, T(0.0f));
          continue;
        }
        const float lse = args.lse.data_as<float>()[r];
        const auto at_target = std::exp(static_cast<double>(static_cast<float>(z[target])) - lse) - 1.0;
        const Floats shift = splat(lse), k = splat(factor);
        map(
            V, z, [&](Floats v) HWY_ATTR { return hn::Mul(k, exp(hn::Sub(v, shift))); }, z);
        z[target] = T(static_cast<float>(factor * at_target));
      }
    });
  });
}

}  // namespace monge::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace monge::cpu {

HWY_EXPORT(ScatterAdd);
HWY_EXPORT(Sample);
HWY_EXPORT(CrossEntropyRows);
HWY_EXPORT(CrossEntropyBackwardRows);

namespace {

template <class T>
void gather(const Tensor& ids, const Tensor& table, const Tensor& out) {
  const std::int64_t V = table.size(0), C = table.size(1);
  parallel_rows(ids.numel(), C, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = begin; r < end; ++r) {
      const std::int64_t id = ids.data_as<std::int32_t>()[r];
      T* row = out.data_as<T>() + r * C;
      if (id >= 0 && id < V) {
        std::copy_n(table.data_as<T>() + id * C, C, row);
      } else {
        std::fill_n(row, C, T(0.0f));
      }
    }
  });
}

}  // namespace

void CpuBackend::compute(const kernel::Embedding& args) {
  if (args.table.dtype() == DType::bf16) {
    gather<bf16>(args.ids, args.table, args.out);
  } else {
    gather<float>(args.ids, args.table, args.out);
  }
}

void CpuBackend::compute(const kernel::EmbeddingBackward& args) {
  if (!args.accumulate) compute(kernel::Fill{.x = args.dtable});

  // Counting sort. While rows are placed, id_end[id] grows from the first place of the id to one past its last.
  const std::int64_t N = args.ids.numel(), V = args.dtable.size(0);
  const auto valid = [V](std::int64_t id) { return id >= 0 && id < V; };
  const std::int32_t* id_of = args.ids.data_as<std::int32_t>();
  const Tensor places = Tensor::empty({V + 1}, DType::i32, device(), Pool::scratch);
  const Tensor rows = Tensor::empty({N}, DType::i32, device(), Pool::scratch);
  std::int32_t* id_end = places.data_as<std::int32_t>();
  std::fill_n(id_end, V + 1, 0);
  for (std::int64_t r = 0; r < N; ++r) {
    if (valid(id_of[r])) ++id_end[id_of[r] + 1];
  }
  for (std::int64_t id = 0; id < V; ++id) id_end[id + 1] += id_end[id];
  const Tensor sorted = rows.slice(0, id_end[V]);
  for (std::int64_t r = 0; r < N; ++r) {
    if (valid(id_of[r])) rows.data_as<std::int32_t>()[id_end[id_of[r]]++] = static_cast<std::int32_t>(r);
  }
  HWY_DYNAMIC_DISPATCH(ScatterAdd)(sorted, places, args.ids, args.dout, args.dtable);
}

void CpuBackend::compute(const kernel::TargetShare& args) {
  const std::int32_t* first = args.targets.data_as<std::int32_t>();
  const auto counted =
      std::count_if(first, first + args.targets.numel(), [&](std::int32_t t) { return t >= 0 && t < args.vocab; });
  args.share.data_as<float>()[0] = counted == 0 ? 0.0f : static_cast<float>(1.0 / static_cast<double>(counted));
}

void CpuBackend::compute(const kernel::SampleTargets& args) { HWY_DYNAMIC_DISPATCH(Sample)(args); }

void CpuBackend::compute(const kernel::CrossEntropy& args) {
  HWY_DYNAMIC_DISPATCH(CrossEntropyRows)(args);
  float* summary = args.summary.data_as<float>();
  if (args.share) {
    summary[1] = args.share.data_as<float>()[0];
  } else {
    compute(kernel::TargetShare{args.targets, args.logits.shape().last(), args.summary.slice(1, 2)});
  }
  const float* losses = args.losses.data_as<float>();  // 0 for rows that do not count
  summary[0] = static_cast<float>(std::accumulate(losses, losses + args.losses.numel(), 0.0) * summary[1]);
}

void CpuBackend::compute(const kernel::CrossEntropyBackward& args) {
  HWY_DYNAMIC_DISPATCH(CrossEntropyBackwardRows)(args);
}

}  // namespace monge::cpu
#endif
