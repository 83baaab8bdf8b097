// What the forward and the backward of attention share: the split into work items and tiles, the copies of q, k and v
// that the small products read, and the scores. A SIMD header, compiled for each instruction
// set like core/cpu/simd.h, which has to be included before it.
//
// A tile is up to 48 query rows of one head; a tile of scores (rows, keys) holds whole rows and fits the second-level
// cache. Scores, weights and sums are f32; the factors of products have the type T of the tensors, so that bf16
// attention multiplies bf16, and rounds weights and gradients of scores to bf16 when they become a factor.
#if defined(MONGE_CORE_CPU_ATTENTION_TILE_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef MONGE_CORE_CPU_ATTENTION_TILE_H_
#undef MONGE_CORE_CPU_ATTENTION_TILE_H_
#else
#define MONGE_CORE_CPU_ATTENTION_TILE_H_
#endif

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "core/backend.h"
#include "core/cpu/attention/tile_product.h"
#include "core/cpu/parallel.h"
#include "core/cpu/philox.h"
#include "core/cpu/simd.h"

#include <hwy/cache_control.h>

HWY_BEFORE_NAMESPACE();
namespace monge::cpu::HWY_NAMESPACE {

HWY_INLINE std::int64_t round_up(std::int64_t n, std::int64_t unit) { return (n + unit - 1) / unit * unit; }

/// How an attention call is cut into work items. The cut depends on the shapes only, so the result does not depend on
/// the number of threads.
struct Tiling {
  explicit Tiling(const kernel::Attention& args)
      : a(args),
        spans(args),
        group(args.heads / args.kv_heads),
        width(round_up(args.head_dim, lanes())),
        keys(round_up(args.keys, panel_width())),
        stride(keys + 16),  // no power of two: the rows of a column would share a few cache sets
        tile_rows(std::clamp<std::int64_t>(tile_elements / std::max<std::int64_t>(1, keys) / block_rows * block_rows,
                                           block_rows, 8 * block_rows)),
        tiles(chunk_count(args.queries, tile_rows)),
        parts(std::clamp<std::int64_t>(chunk_count(least_items, std::max<std::int64_t>(1, args.batch * args.kv_heads)),
                                       1, std::max<std::int64_t>(1, group * tiles))) {}

  std::int64_t items() const { return a.batch * a.kv_heads * parts; }

  const kernel::Attention& a;
  kernel::SpanReader spans;
  std::int64_t group;   // query heads per key/value head
  std::int64_t width;   // head_dim, whole vectors
  std::int64_t keys;    // keys, whole panels
  std::int64_t stride;  // between rows of scores
  std::int64_t tile_rows;
  std::int64_t tiles;  // of one head
  std::int64_t parts;  // items that share the tiles of one key/value head

 private:
  static constexpr std::int64_t tile_elements = 128 * 1024;
  static constexpr std::int64_t least_items = 16;  // keeps some threads busy when there are few sequences and heads
};

/// One work item: every parts-th tile of one key/value head of one sequence, which evens out the causal triangle.
struct Item {
  Item(const Tiling& tiling, std::int64_t index)
      : part(index % tiling.parts),
        g(index / tiling.parts % tiling.a.kv_heads),
        b(index / tiling.parts / tiling.a.kv_heads) {}

  std::int64_t part, g, b;
};

/// `rows` queries of one head from query `first` on.
struct Tile {
  std::int64_t b, h, first, rows;

  HWY_INLINE kernel::KeySpan span(const Tiling& tiling, std::int64_t r) const {
    if (tiling.spans.keys != nullptr) return tiling.spans.at(b, first + r);
    const std::int64_t position = tiling.a.start + first + r;  // what is asked for all the time, on the short way
    return {0, tiling.a.causal ? std::min(tiling.a.keys, position + 1) : tiling.a.keys, position};
  }
  /// The keys that some of the rows r .. end - 1 see. Without spans of their own the last row sees most.
  kernel::KeySpan span(const Tiling& tiling, std::int64_t r, std::int64_t end) const {
    kernel::KeySpan all = span(tiling, end - 1);
    if (tiling.spans.keys == nullptr) return all;
    for (; r < end - 1; ++r) {
      const kernel::KeySpan one = span(tiling, r);
      all.begin = std::min(all.begin, one.begin);
      all.end = std::max(all.end, one.end);
    }
    return all;
  }
  /// Elements of row r that products read: those of a block of rows or keys up to the last of the block.
  std::int64_t elements_read(const Tiling& tiling, std::int64_t r) const {
    return tiling.spans.keys == nullptr ? span(tiling, r).end + block_rows : tiling.stride;
  }
};

template <class F>
HWY_INLINE void for_each_tile(const Tiling& tiling, const Item& item, const F& f) {
  for (std::int64_t t = item.part; t < tiling.group * tiling.tiles; t += tiling.parts) {
    const std::int64_t first = t % tiling.tiles * tiling.tile_rows;
    f(Tile{item.b, item.g * tiling.group + t / tiling.tiles, first,
           std::min(tiling.tile_rows, tiling.a.queries - first)});
  }
}

/// Hands out parts of a buffer of floats, cache line by cache line; over a null buffer it only counts. A part of no
/// elements is null.
class ScratchArena {
 public:
  explicit ScratchArena(float* base) : base_(base) {}
  float* take(std::int64_t n) {
    float* const part = base_ == nullptr || n == 0 ? nullptr : base_ + used_;
    used_ += (n + 15) / 16 * 16;
    return part;
  }
  std::int64_t used() const { return used_; }

 private:
  float* base_;
  std::int64_t used_ = 0;
};

/// f32 work space from the scratch pool.
HWY_INLINE Tensor scratch(std::int64_t n) {
  return Tensor::empty({n}, DType::f32, Device{DeviceKind::cpu, 0}, Pool::scratch);
}

// --- between tensors and tiles ---

template <class T>
T* head(const HeadView& view, std::int64_t b, std::int64_t t, std::int64_t h, std::int64_t head_dim) {
  return view.data.data_as<T>() + view.offset + b * view.batch_stride + t * view.token_stride + h * head_dim;
}

template <class Number>
inline constexpr auto cache_line = static_cast<std::int64_t>(64 / sizeof(Number));

/// Asks for a row that will be read soon: rows of a head lie far apart, which no processor foresees.
template <class Number>
HWY_INLINE void prefetch(const Number* row, std::int64_t n) {
  for (std::int64_t i = 0; i < n; i += cache_line<Number>) hwy::Prefetch(row + i);
}
inline constexpr std::int64_t rows_ahead = 16;

/// Words that a row of `n` elements takes: whole vectors.
template <class T>
HWY_INLINE std::int64_t row_words(std::int64_t n) {
  return round_up(words<T>(n), lanes());
}

/// to (rows, row_words(n)) = from as factors T, filled up with 0.
template <class T, class Number>
HWY_INLINE void load_rows(const Number* from, std::int64_t from_stride, std::int64_t rows, std::int64_t n, float* to) {
  const std::int64_t step = lanes() * per_word<T>;
  for (std::int64_t r = 0; r < rows; ++r, from += from_stride) {
    prefetch(from + rows_ahead * from_stride, n);
    std::int64_t i = 0;
    for (; i + step <= n; i += step, to += lanes()) store(load_words<T>(from + i), to);
    if (i == n) continue;
    HWY_ALIGN Number rest[hn::MaxLanes(f32_tag) * per_word<T>] = {};
    std::copy_n(from + i, n - i, rest);
    store(load_words<T>(rest), to);
    to += lanes();
  }
}

/// A word from each two elements of `first` and `second`, which may be null: a row of 0. The words beyond n, up to
/// whole vectors, are 0.
HWY_INLINE void pair_rows(const bf16* first, const bf16* second, std::int64_t n, float* to) {
  const auto pair = [&](auto low, auto high) HWY_ATTR {
    return hn::BitCast(f32_tag, hn::Or(hn::PromoteTo(u32_tag, low), hn::ShiftLeft<16>(hn::PromoteTo(u32_tag, high))));
  };
  const auto whole = [](const bf16* p)
                         HWY_ATTR { return hn::LoadU(u16_tag, reinterpret_cast<const std::uint16_t*>(p)); };
  std::int64_t i = 0;
  for (; i + lanes() <= n; i += lanes()) {
    store(pair(whole(first + i), second == nullptr ? hn::Zero(u16_tag) : whole(second + i)), to + i);
  }
  if (i == n) return;
  HWY_ALIGN bf16 rest[2][hn::MaxLanes(f32_tag)] = {};
  std::copy_n(first + i, n - i, rest[0]);
  if (second != nullptr) std::copy_n(second + i, n - i, rest[1]);
  store(pair(whole(rest[0]), whole(rest[1])), to + i);
}

/// The same rows as a RightFactor over them: (words of rows, width), 0 beyond the rows and beyond n.
template <class T>
HWY_INLINE void load_right(const T* from, std::int64_t from_stride, std::int64_t rows, std::int64_t n, float* to) {
  if constexpr (per_word<T> == 1) {
    load_rows<T>(from, from_stride, rows, n, to);
  } else {
    for (std::int64_t r = 0; r < rows; r += 2, from += 2 * from_stride, to += round_up(n, lanes())) {
      prefetch(from + rows_ahead * from_stride, n);
      prefetch(from + (rows_ahead + 1) * from_stride, n);
      pair_rows(from, r + 1 < rows ? from + from_stride : nullptr, n, to);
    }
  }
}

/// to (rows, n) = factor from, without the columns beyond n.
template <class T>
HWY_INLINE void store_rows(const float* from, std::int64_t width, std::int64_t rows, std::int64_t n, double factor,
                           T* to, std::int64_t to_stride) {
  const Floats scale = splat(factor);
  for (std::int64_t r = 0; r < rows; ++r) {
    map(
        n, to + r * to_stride, [&](Floats v) HWY_ATTR { return hn::Mul(scale, v); }, from + r * width);
  }
}

/// Four rows of `width` floats become four columns of `to`, whose rows are to_stride apart.
HWY_INLINE void transpose_four(const float* from, std::int64_t width, float* to, std::int64_t to_stride) {
#if HWY_TARGET == HWY_SCALAR
  for (std::int64_t c = 0; c < width; ++c) {
    for (std::int64_t r = 0; r < 4; ++r) to[c * to_stride + r] = from[r * width + c];
  }
#else
  const hn::FixedTag<float, 4> four;
  for (std::int64_t c = 0; c < width; c += 4) {
    const auto r0 = hn::LoadU(four, from + c), r1 = hn::LoadU(four, from + width + c);
    const auto r2 = hn::LoadU(four, from + 2 * width + c), r3 = hn::LoadU(four, from + 3 * width + c);
    const auto low02 = hn::InterleaveLower(four, r0, r2), low13 = hn::InterleaveLower(four, r1, r3);
    const auto high02 = hn::InterleaveUpper(four, r0, r2), high13 = hn::InterleaveUpper(four, r1, r3);
    hn::StoreU(hn::InterleaveLower(four, low02, low13), four, to + c * to_stride);
    hn::StoreU(hn::InterleaveUpper(four, low02, low13), four, to + (c + 1) * to_stride);
    hn::StoreU(hn::InterleaveLower(four, high02, high13), four, to + (c + 2) * to_stride);
    hn::StoreU(hn::InterleaveUpper(four, high02, high13), four, to + (c + 3) * to_stride);
  }
#endif
}

/// The transpose of the rows of a head as a RightFactor: (words of head_dim, keys) in panels, the keys that fill up the
/// last panel being 0. `four_rows` is room for four rows.
template <class T, class Number>
HWY_INLINE void load_transposed(const Tiling& tiling, const Number* from, std::int64_t from_stride, float* four_rows,
                                float* to) {
  const std::int64_t panel = panel_width(), width = row_words<T>(tiling.a.head_dim);
  for (std::int64_t j = 0; j < tiling.keys; j += 4) {
    const std::int64_t count = std::clamp<std::int64_t>(tiling.a.keys - j, 0, 4);
    if (count < 4) std::fill_n(four_rows, 4 * width, 0.0f);
    if (count > 0) load_rows<T>(from + j * from_stride, from_stride, count, tiling.a.head_dim, four_rows);
    transpose_four(four_rows, width, to + j / panel * panel * width + j % panel, panel);
  }
}

/// What load_transposed wrote.
template <class T>
HWY_INLINE RightFactor transposed(const Tiling& tiling, const float* data) {
  return {data, panel_width(), row_words<T>(tiling.a.head_dim) * panel_width()};
}
/// What load_right wrote, `width` columns wide.
HWY_INLINE RightFactor row_major(std::int64_t width, const float* data) { return {data, width, panel_width()}; }

// --- the three ragged products of a tile ---

/// c (rows, keys) = factor a (rows, head_dim) b: scores, or dO v^T.
template <class T>
HWY_INLINE void multiply_scores(const Tiling& tiling, const Tile& tile, double factor, const float* a, const float* b,
                                float* c) {
  multiply<T>(tile.rows, tiling.keys, {a, row_words<T>(tiling.a.head_dim), 1}, transposed<T>(tiling, b), c,
              tiling.stride, {.factor = factor}, Extents([&](std::int64_t begin, std::int64_t end) HWY_ATTR {
                return Extent{round_up(tile.span(tiling, begin, end).end, lanes()), 0, words<T>(tiling.a.head_dim)};
              }));
}

/// c (rows, width) = factor weights (rows, keys) b: outputs, or dq.
template <class T>
HWY_INLINE void multiply_values(const Tiling& tiling, const Tile& tile, double factor, const float* weights,
                                const float* b, std::int64_t width, float* c) {
  multiply<T>(tile.rows, width, {weights, tiling.stride, 1}, row_major(width, b), c, width, {.factor = factor},
              Extents([&](std::int64_t begin, std::int64_t end) HWY_ATTR {
                const kernel::KeySpan seen = tile.span(tiling, begin, end);
                return Extent{width, seen.begin / per_word<T>, words<T>(seen.end)};
              }));
}

/// c (keys, width) += weights^T (keys, rows) b: dk and dv. `pairs` is room for the weights once more if T is bf16.
template <class T>
HWY_INLINE void add_transposed(const Tiling& tiling, const Tile& tile, const float* weights, const float* b,
                               float* pairs, float* c) {
  if constexpr (per_word<T> == 2) {
    for (std::int64_t r = 0; r < tile.rows; r += 2) {
      const float *const first = weights + r * tiling.stride, *const second = first + tiling.stride;
      pair_rows(reinterpret_cast<const bf16*>(first),
                r + 1 < tile.rows ? reinterpret_cast<const bf16*>(second) : nullptr, tile.elements_read(tiling, r),
                pairs + r / 2 * tiling.stride);
    }
    weights = pairs;
  }
  const std::int64_t seen = tile.span(tiling, 0, tile.rows).end;
  multiply<T>(seen, tiling.width, {weights, 1, tiling.stride}, row_major(tiling.width, b), c, tiling.width,
              {.accumulate = true}, Extents([&](std::int64_t begin, std::int64_t) HWY_ATTR {
                const std::int64_t first =
                    tiling.a.causal ? std::max<std::int64_t>(0, begin - tiling.a.start - tile.first) : 0;
                return Extent{tiling.width, first / per_word<T>, words<T>(tile.rows)};
              }));
}

/// A tile of weights becomes a factor of type T, in place: 0 where products read keys that are not seen.
template <class T>
HWY_INLINE void make_factor(const Tiling& tiling, const Tile& tile, float* weights) {
  for (std::int64_t r = 0; r < tile.rows; ++r) {
    float* const row = weights + r * tiling.stride;
    const kernel::KeySpan seen = tile.span(tiling, r);
    const std::int64_t end = tile.elements_read(tiling, r);
    std::fill(row, row + seen.begin, 0.0f);
    std::fill(row + seen.end, row + end, 0.0f);
    if constexpr (!std::is_same_v<T, float>) {
      T* const narrow = reinterpret_cast<T*>(row);
      for (std::int64_t j = 0; j < end; j += lanes()) store(load(row + j), narrow + j);
    }
  }
}

// --- scores ---

/// row_j += table[|position - j|] for the n visible keys.
HWY_INLINE void add_distances(const float* table, std::int64_t position, std::int64_t n, float* row) {
  std::int64_t j = 0;
  for (; j + lanes() <= std::min(n, position + 1); j += lanes()) {
    const Floats falling = hn::Reverse(f32_tag, load(table + position - j - lanes() + 1));
    store(hn::Add(load(row + j), falling), row + j);
  }
  for (; j < n; ++j) row[j] += table[std::abs(position - j)];
}

/// sums[|position - j|] += row_j: the backward of add_distances.
HWY_INLINE void add_to_distances(const float* row, std::int64_t position, std::int64_t n, float* sums) {
  std::int64_t j = 0;
  for (; j + lanes() <= std::min(n, position + 1); j += lanes()) {
    float* const to = sums + position - j - lanes() + 1;
    store(hn::Add(load(to), hn::Reverse(f32_tag, load(row + j))), to);
  }
  for (; j < n; ++j) sums[std::abs(position - j)] += row[j];
}

/// The sum of a row, and the inner product of two.
HWY_INLINE float total(const float* x, std::int64_t n) {
  return sum_of(
      n, [](Floats v) HWY_ATTR { return v; }, x);
}
template <class X, class Y>
HWY_INLINE float inner(const X* x, const Y* y, std::int64_t n) {
  return sum_of(
      n, [](Floats v, Floats w) HWY_ATTR { return hn::Mul(v, w); }, x, y);
}

/// to_j += from_j.
HWY_INLINE void add_row(const float* from, std::int64_t n, float* to) {
  map(
      n, to, [](Floats x, Floats y) HWY_ATTR { return hn::Add(x, y); }, to, from);
}

/// The row of head h in a table (H, N) of the prior.
HWY_INLINE float* table_row(const Tensor& table, std::int64_t h) {
  return table.data_as<float>() + h * table.shape().last();
}

HWY_INLINE void add_prior(const Tiling& tiling, const Tile& tile, std::int64_t r, float* scores) {
  const LogPrior& prior = tiling.a.prior;
  const kernel::KeySpan seen = tile.span(tiling, r);
  const std::int64_t h = tile.h, position = seen.position, n = seen.size();
  float* const row = scores + seen.begin;
  if (prior.slopes || prior.head) {
    const Floats slope = splat(prior.slopes ? prior.slopes.data_as<float>()[h] : 0.0);
    const Floats bias = splat(prior.head ? prior.head.data_as<float>()[h] : 0.0);
    for (std::int64_t j = 0; j < n; j += lanes()) {
      const Floats distance = hn::Abs(hn::Iota(f32_tag, static_cast<float>(j - position)));
      store(hn::Add(load(row + j), hn::NegMulAdd(slope, distance, bias)), row + j);
    }
  }
  if (prior.key) add_row(table_row(prior.key, h), n, row);
  if (prior.distance) add_distances(table_row(prior.distance, h), position, n, row);
}

/// scores += prior.
HWY_INLINE void add_priors(const Tiling& tiling, const Tile& tile, float* scores) {
  const LogPrior& prior = tiling.a.prior;
  if (!prior.slopes && !prior.head && !prior.key && !prior.distance) return;
  for (std::int64_t r = 0; r < tile.rows; ++r) add_prior(tiling, tile, r, scores + r * tiling.stride);
}

/// The scores of a tile: scale <q_i, k_j> + prior_ij.
template <class T>
HWY_INLINE void compute_scores(const Tiling& tiling, const Tile& tile, const float* q, const float* k_transposed,
                               float* scores) {
  multiply_scores<T>(tiling, tile, tiling.a.scale, q, k_transposed, scores);
  add_priors(tiling, tile, scores);
}

/// The place of row (b, h, i) in row_stat.
HWY_INLINE std::int64_t row_index(const Tiling& tiling, const Tile& tile, std::int64_t r) {
  return (tile.b * tiling.a.heads + tile.h) * tiling.a.queries + tile.first + r;
}

/// Room that draw_mask needs for a row of `keys`.
HWY_INLINE std::int64_t mask_size(std::int64_t keys) { return keys + 2 * words_unit; }

/// Returns what dropout multiplies the weights of a row's keys by, from the first that is seen; it lies in `space`.
HWY_INLINE const float* draw_mask(const kernel::Attention& a, std::int64_t row, const kernel::KeySpan& seen,
                                  float* space) {
  constexpr std::int64_t batch = 8 * words_unit;
  HWY_ALIGN std::uint32_t words[batch];
  const std::uint32_t step = step_of(a.random);
  const std::int64_t place = row * a.keys + seen.begin;
  const std::int64_t skipped = place % 4, first = place - skipped;  // a draw starts at a whole block
  const std::int64_t drawn = round_up(skipped + seen.size(), words_unit);
  for (std::int64_t i = 0; i < drawn; i += batch) {
    const std::int64_t count = std::min(batch, drawn - i);
    draw_words(a.random, step, first + i, count, words);
    dropout_factors(words, count, a.dropout, space + i);
  }
  return space + skipped;
}

HWY_INLINE void multiply_by(float* row, const float* mask, std::int64_t n) {
  map(
      n, row, [](Floats x, Floats m) HWY_ATTR { return hn::Mul(x, m); }, row, mask);
}

}  // namespace monge::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target guard
