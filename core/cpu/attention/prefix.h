// What the forward and the backward of attention of one query share: the split into work items, and loops over columns.
// A SIMD header, like core/cpu/attention/tile.h.
//
// Tokens are taken in blocks: scores and gates are vectors over the tokens of a block, values and gradients vectors
// over columns. A work item takes a block for all its heads before the next block, so that it walks through memory
// once: the rows of a single head lie far apart.
//
// Where there are few sequences, items share the heads, and where that is not enough, the tokens are cut into pieces: a
// first pass finds what each piece adds to the state by itself, then the states before all pieces are put together,
// then each piece is computed from its own.
#if defined(MONGE_CORE_CPU_ATTENTION_PREFIX_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef MONGE_CORE_CPU_ATTENTION_PREFIX_H_
#undef MONGE_CORE_CPU_ATTENTION_PREFIX_H_
#else
#define MONGE_CORE_CPU_ATTENTION_PREFIX_H_
#endif

#include <algorithm>

#include "core/backend.h"
#include "core/cpu/attention/tile.h"
#include "core/cpu/parallel.h"
#include "core/cpu/simd.h"

HWY_BEFORE_NAMESPACE();
namespace monge::cpu::HWY_NAMESPACE {

inline constexpr std::int64_t block_tokens = 16;  // whole vectors; what a head reads of them fits the first-level cache

/// How a call is cut into work items: by the shapes only, so the result does not depend on the number of threads.
struct PrefixCut {
  explicit PrefixCut(const kernel::PrefixAttention& args)
      : a(args),
        group(args.heads / args.kv_heads),
        width(round_up(args.head_dim, lanes())),
        part(std::max<std::int64_t>(1, args.kv_heads / wanted(4, args.batch))),
        parts(chunk_count(args.kv_heads, part)),
        pieces(std::clamp<std::int64_t>(wanted(4, args.batch * parts), 1,
                                        std::max<std::int64_t>(1, args.tokens / least_tokens))),
        tokens(chunk_count(args.tokens, pieces)) {}

  std::int64_t items() const { return a.batch * parts * pieces; }
  /// f(item, worker) for every item, those of little work by one thread.
  template <class F>
  void for_each_item(const F& f) const {
    const std::int64_t work = std::max<std::int64_t>(1, part * group * tokens * a.head_dim);
    parallel_chunks(items(), std::max<std::int64_t>(1, elements_per_chunk / work),
                    [&](std::int64_t begin, std::int64_t end) {
                      for (std::int64_t i = begin; i < end; ++i) f(i, omp_get_thread_num());
                    });
  }

  const kernel::PrefixAttention& a;
  std::int64_t group;   // query heads per key/value head
  std::int64_t width;   // head_dim, whole vectors
  std::int64_t part;    // key/value heads of an item
  std::int64_t parts;   // items that share the heads of a sequence: few, since their rows lie apart
  std::int64_t pieces;  // of a sequence; more than one costs a second reading of the values
  std::int64_t tokens;  // of a piece

 private:
  static constexpr std::int64_t least_tokens = 1024;
  static std::int64_t wanted(std::int64_t items, std::int64_t there) {
    return chunk_count(items, std::max<std::int64_t>(1, there));
  }
};

/// Some heads on one piece of a sequence.
struct PrefixItem {
  PrefixItem(const PrefixCut& cut, std::int64_t index)
      : b(index / (cut.parts * cut.pieces)),
        piece(index / cut.parts % cut.pieces),
        g(index % cut.parts * cut.part),
        g_end(std::min(cut.a.kv_heads, g + cut.part)),
        h(g * cut.group),
        h_end(g_end * cut.group),
        begin(std::min(cut.a.tokens, piece * cut.tokens)),
        end(std::min(cut.a.tokens, begin + cut.tokens)) {}

  std::int64_t b, piece;
  std::int64_t g, g_end;    // key/value heads
  std::int64_t h, h_end;    // query heads
  std::int64_t begin, end;  // tokens
};

/// scale q in f32, (H, width) with zeros behind the columns.
template <class T>
Tensor scaled_query(const PrefixCut& cut) {
  const Tensor out = scratch(cut.a.heads * cut.width);
  std::fill_n(out.data_as<float>(), out.numel(), 0.0f);
  const Floats scale = splat(cut.a.scale);
  for (std::int64_t h = 0; h < cut.a.heads; ++h) {
    map(
        cut.a.head_dim, out.data_as<float>() + h * cut.width, [=](Floats x) HWY_ATTR { return hn::Mul(x, scale); },
        cut.a.q.data_as<const T>() + h * cut.a.head_dim);
  }
  return out;
}

/// Calls f<vectors>(column, count) for the columns 0 .. n by 4, 2 and 1 vectors; `count`: columns of the last.
template <class F>
HWY_INLINE void for_each_columns(std::int64_t n, const F& f) {
  std::int64_t c = 0;
  for (; c + 4 * lanes() <= n; c += 4 * lanes()) f(std::integral_constant<int, 4>(), c, lanes());
  for (; c + 2 * lanes() <= n; c += 2 * lanes()) f(std::integral_constant<int, 2>(), c, lanes());
  for (; c < n; c += lanes()) f(std::integral_constant<int, 1>(), c, std::min(lanes(), n - c));
}
template <int vectors, class T>
HWY_INLINE Floats load_part(const T* p, std::int64_t count) {
  return vectors > 1 || count == lanes() ? load(p) : load_n(p, count);
}
template <int vectors, class T>
HWY_INLINE void store_part(Floats v, T* p, std::int64_t count) {
  vectors > 1 || count == lanes() ? store(v, p) : store_n(v, p, count);
}

/// Asks the second-level cache, which a block of all heads fits, for a row that is read or written a block from now.
template <bool writes = false, class Number>
HWY_INLINE void request(const Number* row, std::int64_t n) {
  constexpr int second_level = 2;
  for (std::int64_t i = 0; i < n; i += cache_line<Number>) __builtin_prefetch(row + i, writes ? 1 : 0, second_level);
}

/// Where the state before a piece is: (B, H, pieces, D + 2).
HWY_INLINE float* state_at(const Tensor& states, const PrefixCut& cut, std::int64_t row, std::int64_t piece) {
  return states.data_as<float>() + (row * cut.pieces + piece) * (cut.a.head_dim + 2);
}

}  // namespace monge::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target guard
