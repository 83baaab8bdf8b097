// Attention of one query, forward: a recurrence over the tokens.
#include <algorithm>
#include <cmath>
#include <limits>

#include "core/cpu/cpu_backend.h"
#include "core/cpu/parallel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/cpu/attention/prefix_forward.cpp"
#include "core/cpu/simd.h"

#include "core/cpu/attention/prefix.h"

HWY_BEFORE_NAMESPACE();
namespace monge::cpu::HWY_NAMESPACE {

/// f over the first n <= block_tokens elements; the arrays hold a whole block.
template <class F, class... X>
HWY_INLINE void map_block(std::int64_t n, float* y, const F& f, const X*... x) {
  for (std::int64_t i = 0; i < n; i += lanes()) store(f(load(x + i)...), y + i);
}

/// m, u and w of one head, followed by zeros up to whole vectors of w.
struct PrefixState {
  float* at;

  float& top() const { return at[0]; }
  float& total() const { return at[1]; }
  float* sum() const { return at + 2; }
  static std::int64_t size(const PrefixCut& cut) { return cut.width + 2; }

  /// `from` (D + 2), or null: of no tokens.
  void read(const float* from, const PrefixCut& cut) const {
    std::fill_n(at, size(cut), 0.0f);
    top() = -std::numeric_limits<float>::infinity();
    if (from != nullptr) std::copy_n(from, cut.a.head_dim + 2, at);
  }
  void write(float* to, const PrefixCut& cut) const { std::copy_n(at, cut.a.head_dim + 2, to); }
};

/// What a block of tokens does to the state: token j multiplies what was summed before it by decay_j, adds weight_j
/// v_j, and its output is the sum times share_j.
struct PrefixBlock {
  HWY_ALIGN float scores[block_tokens] = {};
  HWY_ALIGN float decay[block_tokens] = {};
  HWY_ALIGN float weight[block_tokens] = {};
  HWY_ALIGN float share[block_tokens] = {};

  HWY_INLINE void advance(std::int64_t n, const PrefixState& state) {
    float top = state.top(), total = state.total();
    for (std::int64_t j = 0; j < n; ++j) {
      const float before = top;
      top = std::max(before, scores[j]);
      decay[j] = before - top;
      weight[j] = scores[j] - top;
    }
    const auto e_to_the = [](Floats x) HWY_ATTR { return exp(x); };
    map_block(n, decay, e_to_the, decay);
    map_block(n, weight, e_to_the, weight);
    for (std::int64_t j = 0; j < n; ++j) share[j] = total = total * decay[j] + weight[j];
    map_block(
        n, share, [](Floats x) HWY_ATTR { return hn::Div(splat(1.0), x); }, share);
    state.top() = top;
    state.total() = total;
  }
};

/// Moves the weighted sum over a block of values; writes the outputs unless `out` is null.
template <bool writes, class T>
HWY_INLINE void add_values(const PrefixBlock& block, std::int64_t n, std::int64_t D, const T* v, std::int64_t v_stride,
                           float* sum, T* out, std::int64_t out_stride) {
  for_each_columns(D, [&](auto tile, std::int64_t c, std::int64_t count) HWY_ATTR {
    constexpr int vectors = tile;
    Floats total[vectors];
#pragma GCC unroll 4
    for (int i = 0; i < vectors; ++i) total[i] = load(sum + c + i * lanes());
    for (std::int64_t j = 0; j < n; ++j) {
      const Floats decay = hn::Set(f32_tag, block.decay[j]), weight = hn::Set(f32_tag, block.weight[j]),
                   share = hn::Set(f32_tag, block.share[j]);
#pragma GCC unroll 4
      for (int i = 0; i < vectors; ++i) {
        const Floats value = load_part<vectors>(v + j * v_stride + c + i * lanes(), count);
        total[i] = hn::MulAdd(weight, value, hn::Mul(decay, total[i]));
        if constexpr (writes) {
          store_part<vectors>(hn::Mul(share, total[i]), out + j * out_stride + c + i * lanes(), count);
        }
      }
    }
#pragma GCC unroll 4
    for (int i = 0; i < vectors; ++i) store(total[i], sum + c + i * lanes());
  });
}

/// The heads of an item over its tokens, from the states of its query heads on.
template <bool writes, class T>
void run_forward(const PrefixCut& cut, const PrefixItem& item, const float* q, float* states) {
  const kernel::PrefixAttention& a = cut.a;
  const auto D = a.head_dim;
  PrefixBlock block;
  for (std::int64_t begin = item.begin; begin < item.end; begin += block_tokens) {
    const std::int64_t n = std::min(block_tokens, item.end - begin);
    for (std::int64_t h = item.h; h < item.h_end; ++h) {
      const std::int64_t g = h / cut.group;
      const PrefixState state{states + (h - item.h) * PrefixState::size(cut)};
      const T* const k = a.k.head<T>(item.b, begin, g, D);
      const T* const v = a.v.head<T>(item.b, begin, g, D);
      T* const out = writes ? a.out.head<T>(item.b, begin, h, D) : nullptr;
      for (std::int64_t j = 0; j < n; ++j) {
        request(k + (j + block_tokens) * a.k.token_stride, D);
        request(v + (j + block_tokens) * a.v.token_stride, D);
        if constexpr (writes) request<true>(out + (j + block_tokens) * a.out.token_stride, D);
        block.scores[j] = inner(q + h * cut.width, k + j * a.k.token_stride, D);
      }
      block.advance(n, state);
      if constexpr (writes) {
        map(
            n, a.gate.data_as<float>() + (item.b * a.heads + h) * a.tokens + begin,
            [](Floats x, Floats y) HWY_ATTR { return hn::Mul(x, y); }, block.weight, block.share);
      }
      add_values<writes>(block, n, D, v, a.v.token_stride, state.sum(), out, a.out.token_stride);
    }
  }
}

/// The states before each piece, (B, H, pieces, D + 2).
template <class T>
Tensor states_before(const PrefixCut& cut, const float* q, float* space, std::int64_t space_size) {
  const kernel::PrefixAttention& a = cut.a;
  const std::int64_t size = a.head_dim + 2;
  const Tensor states = scratch(a.batch * a.heads * cut.pieces * size);
  // The state of a piece alone, where that before the next piece will be.
  cut.for_each_item([&](std::int64_t index, int worker) HWY_ATTR {
    const PrefixItem item(cut, index);
    if (item.piece + 1 == cut.pieces) return;
    float* const own = space + worker * space_size;
    const auto state = [&](std::int64_t h) { return PrefixState{own + (h - item.h) * PrefixState::size(cut)}; };
    for (std::int64_t h = item.h; h < item.h_end; ++h) state(h).read(nullptr, cut);
    run_forward<false, T>(cut, item, q, own);
    for (std::int64_t h = item.h; h < item.h_end; ++h) {
      state(h).write(state_at(states, cut, item.b * a.heads + h, item.piece + 1), cut);
    }
  });
  for (std::int64_t row = 0; row < a.batch * a.heads; ++row) {
    float* const first = state_at(states, cut, row, 0);
    std::fill_n(first, size, 0.0f);
    first[0] = -std::numeric_limits<float>::infinity();
    if (a.before) std::copy_n(a.before.data_as<float>() + row * size, size, first);
    for (std::int64_t piece = 1; piece < cut.pieces; ++piece) {
      const float* const x = state_at(states, cut, row, piece - 1);
      float* const y = state_at(states, cut, row, piece);
      const float top = std::max(x[0], y[0]);
      const float of_x = std::exp(x[0] - top), of_y = std::exp(y[0] - top);
      y[0] = top;
      for (std::int64_t i = 1; i < size; ++i) y[i] = of_x * x[i] + of_y * y[i];
    }
  }
  return states;
}

template <class T>
void prefix_forward(const kernel::PrefixAttention& a) {
  const PrefixCut cut(a);
  const std::int64_t space_size = cut.part * cut.group * PrefixState::size(cut);
  const Tensor query = scaled_query<T>(cut), space = scratch(thread_count() * space_size);
  const auto* const q = query.data_as<float>();
  const Tensor before = cut.pieces > 1 ? states_before<T>(cut, q, space.data_as<float>(), space_size) : a.before;
  cut.for_each_item([&](std::int64_t index, int worker) HWY_ATTR {
    const PrefixItem item(cut, index);
    float* const own = space.data_as<float>() + worker * space_size;
    const auto state = [&](std::int64_t h) { return PrefixState{own + (h - item.h) * PrefixState::size(cut)}; };
    for (std::int64_t h = item.h; h < item.h_end; ++h) {
      state(h).read(before ? state_at(before, cut, item.b * a.heads + h, item.piece) : nullptr, cut);
    }
    run_forward<true, T>(cut, item, q, own);
    if (!a.after || item.piece + 1 < cut.pieces) return;
    for (std::int64_t h = item.h; h < item.h_end; ++h) {
      state(h).write(a.after.data_as<float>() + (item.b * a.heads + h) * (a.head_dim + 2), cut);
    }
  });
}

void ForwardOfPrefixes(const kernel::PrefixAttention& args) {
  with_storage(args.q.dtype(), [&](auto zero) HWY_ATTR { prefix_forward<decltype(zero)>(args); });
}

}  // namespace monge::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace monge::cpu {

HWY_EXPORT(ForwardOfPrefixes);

void CpuBackend::compute(const kernel::PrefixAttention& args) { HWY_DYNAMIC_DISPATCH(ForwardOfPrefixes)(args); }

}  // namespace monge::cpu
#endif
