// Attention of one query, backward: one pass over the tokens from the last to the first.
#include <algorithm>

#include "core/cpu/cpu_backend.h"
#include "core/cpu/parallel.h"
#include "core/cpu/reductions.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/cpu/attention/prefix_backward.cpp"
#include "core/cpu/simd.h"

#include "core/cpu/attention/prefix.h"

HWY_BEFORE_NAMESPACE();
namespace monge::cpu::HWY_NAMESPACE {

// What token j hands to the one before it is r_j = (1 - g_j) B_j and the same of c_j. It is computed as B - g B: 1 - g
// would lose the digits of a small g, in the same direction at every token.

/// <dO_j, out_j> of a block.
template <class T>
HWY_INLINE void output_products(const kernel::PrefixAttentionBackward& args, std::int64_t b, std::int64_t h,
                                std::int64_t begin, std::int64_t n, float* to) {
  const auto D = args.forward.head_dim;
  const T* const dout = args.dout.head<T>(b, begin, h, D);
  const T* const out = args.forward.out.head<T>(b, begin, h, D);
  for (std::int64_t j = 0; j < n; ++j) {
    to[j] = inner(dout + j * args.dout.token_stride, out + j * args.forward.out.token_stride, D);
  }
}

/// r_j of the first token of each piece, from this piece alone, for the columns and for c_j; and the product of all
/// 1 - g_j: (B, H, pieces, D + 2).
template <class T>
Tensor handed_on(const kernel::PrefixAttentionBackward& args, const PrefixCut& cut) {
  const kernel::PrefixAttention& a = cut.a;
  const std::int64_t D = a.head_dim, size = D + 2;
  const Tensor out = scratch(a.batch * a.heads * cut.pieces * size);
  cut.for_each_item([&](std::int64_t index, int) HWY_ATTR {
    const PrefixItem item(cut, index);
    if (item.piece == 0) return;
    for (std::int64_t h = item.h; h < item.h_end; ++h) {
      const std::int64_t row = item.b * a.heads + h, count = item.end - item.begin;
      const float* const gate = a.gate.data_as<float>() + row * a.tokens + item.begin;
      const T* const dout = args.dout.head<T>(item.b, item.begin, h, D);
      float* const to = out.data_as<float>() + (row * cut.pieces + item.piece) * size;
      float* const r = to + 2;
      std::fill_n(r, D, 0.0f);
      float c = 0.0f, decay = 1.0f;
      HWY_ALIGN float products[block_tokens];
      for (std::int64_t left = count; left > 0;) {
        const std::int64_t n = (left - 1) % block_tokens + 1;
        left -= n;
        output_products<T>(args, item.b, h, item.begin + left, n, products);
        for (std::int64_t j = n - 1; j >= 0; --j) {
          c += products[j];
          c -= gate[left + j] * c;
          decay -= gate[left + j] * decay;
        }
        for_each_columns(D, [&](auto tile, std::int64_t column, std::int64_t part) HWY_ATTR {
          constexpr int vectors = tile;
          Floats sum[vectors];
#pragma GCC unroll 4
          for (int i = 0; i < vectors; ++i) sum[i] = load_part<vectors>(r + column + i * lanes(), part);
          for (std::int64_t j = left + n - 1; j >= left; --j) {
            const Floats g = hn::Set(f32_tag, gate[j]);
            const T* const from = dout + j * args.dout.token_stride + column;
#pragma GCC unroll 4
            for (int i = 0; i < vectors; ++i) {
              sum[i] = hn::Add(sum[i], load_part<vectors>(from + i * lanes(), part));
              sum[i] = hn::NegMulAdd(g, sum[i], sum[i]);
            }
          }
#pragma GCC unroll 4
          for (int i = 0; i < vectors; ++i) store_part<vectors>(sum[i], r + column + i * lanes(), part);
        });
      }
      to[0] = c;
      to[1] = decay;
    }
  });
  // From the last piece on: what reaches a piece is what the next one hands on by itself, and what reached that,
  // decayed.
  for (std::int64_t row = 0; row < a.batch * a.heads; ++row) {
    float* const first = out.data_as<float>() + row * cut.pieces * size;
    for (std::int64_t piece = cut.pieces - 2; piece >= 1; --piece) {
      float* const x = first + piece * size;
      const float* const next = x + size;
      const float decay = x[1];
      x[0] += decay * next[0];
      for (std::int64_t i = 2; i < size; ++i) x[i] += decay * next[i];
    }
  }
  return out;
}

/// Whether a gradient of keys or values is stored past the caches: where it is more than they hold, that spares the
/// reading of lines that are about to be written.
template <class T>
HWY_INLINE bool passes_caches(const kernel::PrefixAttention& a, const HeadView& to) {
  constexpr std::int64_t most_cached = 1 << 20;  // floats
  const auto aligned = [](std::int64_t floats) HWY_ATTR { return floats % lanes() == 0; };
  return std::is_same_v<T, float> && a.batch * a.tokens * a.kv_heads * a.head_dim > most_cached &&
         reinterpret_cast<std::uintptr_t>(to.data.data()) % sizeof(Floats) == 0 && aligned(a.head_dim) &&
         aligned(to.offset) && aligned(to.token_stride) && aligned(to.batch_stride);
}

template <int vectors, class T>
HWY_INLINE void store_gradient(Floats v, T* p, std::int64_t count, bool past_caches) {
  if constexpr (std::is_same_v<T, float>) {
    if (past_caches) return hn::Stream(v, f32_tag, p);
  }
  store_part<vectors>(v, p, count);
}

/// The buffers of one worker, for the query heads of one key/value head of its item.
struct PrefixScratch {
  PrefixScratch(const PrefixCut& cut, float* space, std::int64_t member)
      : r(space + member * size(cut)),
        dq(r + cut.group * cut.width),
        ds(dq + cut.group * cut.width),
        c(ds + cut.group * block_tokens) {}
  static std::int64_t size(const PrefixCut& cut) { return cut.group * (2 * cut.width + block_tokens + lanes()); }

  float *r, *dq;  // (group, width)
  float* ds;      // (group, block_tokens)
  float* c;       // (group)
};

/// A block of tokens of one key/value head.
struct PrefixPlace {
  std::int64_t b, g, h;  // h: the first query head
  std::int64_t begin, n;
};

/// Asks for the rows of a head that the next block reads or, with `writes`, writes.
template <class T, bool writes = false>
HWY_INLINE void request_rows(const HeadView& view, const PrefixPlace& at, std::int64_t h, std::int64_t D) {
  const std::int64_t first = at.begin - block_tokens;
  if (first < 0) return;
  const T* row = view.head<T>(at.b, first, h, D);
  for (std::int64_t j = 0; j < block_tokens; ++j, row += view.token_stride) request<writes>(row, D);
}

/// dv of a block, and <v_j, B_j> of every head.
template <class T>
HWY_INLINE void spread_values(const kernel::PrefixAttentionBackward& args, const PrefixCut& cut, const PrefixPlace& at,
                              const PrefixScratch& to) {
  const kernel::PrefixAttention& a = cut.a;
  const auto D = a.head_dim;
  const T* const v = a.v.head<T>(at.b, at.begin, at.g, D);
  T* const dv = args.dv.head<T>(at.b, at.begin, at.g, D);
  const bool past_caches = passes_caches<T>(a, args.dv);
  const T* const dout = args.dout.head<T>(at.b, at.begin, at.h, D);
  const float* const gate = a.gate.data_as<float>() + (at.b * a.heads + at.h) * a.tokens + at.begin;
  std::fill_n(to.ds, cut.group * block_tokens, 0.0f);
  for_each_columns(D, [&](auto tile, std::int64_t c, std::int64_t count) HWY_ATTR {
    constexpr int vectors = tile;
    for (std::int64_t j = at.n - 1; j >= 0; --j) {
      Floats total[vectors];
#pragma GCC unroll 4
      for (int i = 0; i < vectors; ++i) total[i] = hn::Zero(f32_tag);
      for (std::int64_t h = 0; h < cut.group; ++h) {
        const Floats g = hn::Set(f32_tag, gate[h * a.tokens + j]);
        const T* const from = dout + j * args.dout.token_stride + h * D + c;
        float* const r = to.r + h * cut.width + c;
        Floats product = hn::Zero(f32_tag);
#pragma GCC unroll 4
        for (int i = 0; i < vectors; ++i) {
          const Floats sum = hn::Add(load(r + i * lanes()), load_part<vectors>(from + i * lanes(), count));
          const Floats value = load_part<vectors>(v + j * a.v.token_stride + c + i * lanes(), count);
          product = hn::MulAdd(sum, value, product);
          total[i] = hn::MulAdd(g, sum, total[i]);
          store(hn::NegMulAdd(g, sum, sum), r + i * lanes());
        }
        to.ds[h * block_tokens + j] += sum_lanes(product);
      }
#pragma GCC unroll 4
      for (int i = 0; i < vectors; ++i) {
        store_gradient<vectors>(total[i], dv + j * args.dv.token_stride + c + i * lanes(), count, past_caches);
      }
    }
  });
}

/// dk of a block from the gradients of its scores, and what they add to dq / scale. `q`: scaled.
template <class T>
HWY_INLINE void spread_keys(const kernel::PrefixAttentionBackward& args, const PrefixCut& cut, const PrefixPlace& at,
                            const float* q, const PrefixScratch& to) {
  const kernel::PrefixAttention& a = cut.a;
  const auto D = a.head_dim;
  const T* const k = a.k.head<T>(at.b, at.begin, at.g, D);
  T* const dk = args.dk.head<T>(at.b, at.begin, at.g, D);
  const bool past_caches = passes_caches<T>(a, args.dk);
  for_each_columns(D, [&](auto tile, std::int64_t c, std::int64_t count) HWY_ATTR {
    constexpr int vectors = tile;
    for (std::int64_t j = 0; j < at.n; ++j) {
      Floats total[vectors];
#pragma GCC unroll 4
      for (int i = 0; i < vectors; ++i) total[i] = hn::Zero(f32_tag);
      for (std::int64_t h = 0; h < cut.group; ++h) {
        const Floats ds = hn::Set(f32_tag, to.ds[h * block_tokens + j]);
#pragma GCC unroll 4
        for (int i = 0; i < vectors; ++i) {
          total[i] = hn::MulAdd(ds, load(q + (at.h + h) * cut.width + c + i * lanes()), total[i]);
        }
      }
#pragma GCC unroll 4
      for (int i = 0; i < vectors; ++i) {
        store_gradient<vectors>(total[i], dk + j * args.dk.token_stride + c + i * lanes(), count, past_caches);
      }
    }
    for (std::int64_t h = 0; h < cut.group; ++h) {
      Floats total[vectors];
#pragma GCC unroll 4
      for (int i = 0; i < vectors; ++i) total[i] = hn::Zero(f32_tag);
      for (std::int64_t j = 0; j < at.n; ++j) {
        const Floats ds = hn::Set(f32_tag, to.ds[h * block_tokens + j]);
#pragma GCC unroll 4
        for (int i = 0; i < vectors; ++i) {
          const Floats key = load_part<vectors>(k + j * a.k.token_stride + c + i * lanes(), count);
          total[i] = hn::MulAdd(ds, key, total[i]);
        }
      }
#pragma GCC unroll 4
      for (int i = 0; i < vectors; ++i) {
        float* const sum = to.dq + h * cut.width + c + i * lanes();
        store(hn::Add(load(sum), total[i]), sum);
      }
    }
  });
}

template <class T>
HWY_INLINE void run_block(const kernel::PrefixAttentionBackward& args, const PrefixCut& cut, const PrefixPlace& at,
                          const float* q, const PrefixScratch& to) {
  const kernel::PrefixAttention& a = cut.a;
  const auto D = a.head_dim;
  HWY_ALIGN float products[block_tokens] = {};
  request_rows<T>(a.k, at, at.g, D);
  request_rows<T>(a.v, at, at.g, D);
  if (!passes_caches<T>(a, args.dk)) request_rows<T, true>(args.dk, at, at.g, D);
  if (!passes_caches<T>(a, args.dv)) request_rows<T, true>(args.dv, at, at.g, D);
  spread_values<T>(args, cut, at, to);
  for (std::int64_t h = 0; h < cut.group; ++h) {
    const float* const gate = a.gate.data_as<float>() + (at.b * a.heads + at.h + h) * a.tokens + at.begin;
    output_products<T>(args, at.b, at.h + h, at.begin, at.n, products);
    request_rows<T>(args.dout, at, at.h + h, D);
    request_rows<T>(a.out, at, at.h + h, D);
    for (std::int64_t j = at.n - 1; j >= 0; --j) {
      products[j] += to.c[h];
      to.c[h] = products[j] - gate[j] * products[j];
    }
    float* const ds = to.ds + h * block_tokens;
    map(
        at.n, ds, [](Floats x, Floats c, Floats g) HWY_ATTR { return hn::Mul(g, hn::Sub(x, c)); }, ds, products, gate);
  }
  spread_keys<T>(args, cut, at, q, to);
}

/// `dq_parts` (B pieces, H D): what each sequence and piece adds to dq / scale.
template <class T>
void prefix_backward(const kernel::PrefixAttentionBackward& args, const Tensor& dq_parts) {
  const kernel::PrefixAttention& a = args.forward;
  const PrefixCut cut(a);
  const std::int64_t D = a.head_dim, space_size = cut.part * PrefixScratch::size(cut);
  const Tensor query = scaled_query<T>(cut), space = scratch(thread_count() * space_size);
  const Tensor handed = cut.pieces > 1 ? handed_on<T>(args, cut) : Tensor();
  cut.for_each_item([&](std::int64_t index, int worker) HWY_ATTR {
    const PrefixItem item(cut, index);
    float* const own = space.data_as<float>() + worker * space_size;
    std::fill_n(own, space_size, 0.0f);
    for (std::int64_t h = item.h; handed && item.piece + 1 < cut.pieces && h < item.h_end; ++h) {
      const float* const next = state_at(handed, cut, item.b * a.heads + h, item.piece + 1);
      const PrefixScratch to(cut, own, (h - item.h) / cut.group);
      to.c[h % cut.group] = next[0];
      std::copy_n(next + 2, D, to.r + h % cut.group * cut.width);
    }
    for (std::int64_t end = item.end; end > item.begin;) {
      const std::int64_t n = (end - item.begin - 1) % block_tokens + 1;
      end -= n;
      for (std::int64_t g = item.g; g < item.g_end; ++g) {
        const PrefixPlace at{item.b, g, g * cut.group, end, n};
        run_block<T>(args, cut, at, query.data_as<float>(), PrefixScratch(cut, own, g - item.g));
      }
    }
    for (std::int64_t h = item.h; h < item.h_end; ++h) {
      const PrefixScratch to(cut, own, (h - item.h) / cut.group);
      std::copy_n(to.dq + h % cut.group * cut.width, D,
                  dq_parts.data_as<float>() + ((item.b * cut.pieces + item.piece) * a.heads + h) * D);
    }
    hwy::FlushStream();  // what went past the caches is there for all threads
  });
}

void BackwardOfPrefixes(const kernel::PrefixAttentionBackward& args, const Tensor& dq_parts) {
  with_storage(args.forward.q.dtype(), [&](auto zero) HWY_ATTR { prefix_backward<decltype(zero)>(args, dq_parts); });
}

std::int64_t PiecesOfPrefixes(const kernel::PrefixAttention& args) { return PrefixCut(args).pieces; }

}  // namespace monge::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace monge::cpu {

HWY_EXPORT(BackwardOfPrefixes);
HWY_EXPORT(PiecesOfPrefixes);

void CpuBackend::compute(const kernel::PrefixAttentionBackward& args) {
  const kernel::PrefixAttention& a = args.forward;
  const std::int64_t rows = a.batch * HWY_DYNAMIC_DISPATCH(PiecesOfPrefixes)(a);
  const Tensor parts = Tensor::empty({rows, a.heads * a.head_dim}, DType::f32, device(), Pool::scratch);
  HWY_DYNAMIC_DISPATCH(BackwardOfPrefixes)(args, parts);
  add_parts(parts, a.scale, args.dq, args.accumulate_q);
}

}  // namespace monge::cpu
#endif
