// Softmax and normalisation. A row is read from memory once and then again from the first-level cache.
#include <cmath>

#include "core/cpu/cpu_backend.h"
#include "core/cpu/parallel.h"
#include "core/cpu/reductions.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "core/cpu/rows.cpp"
#include "core/cpu/simd.h"

HWY_BEFORE_NAMESPACE();
namespace monge::cpu::HWY_NAMESPACE {

void Softmax(const kernel::Softmax& args) {
  const std::int64_t C = args.x.shape().last();
  with_storage(args.x.dtype(), [&](auto zero) HWY_ATTR {
    using T = decltype(zero);
    parallel_rows(args.x.shape().rows(), C, [&](std::int64_t begin, std::int64_t end) HWY_ATTR {
      for (std::int64_t r = begin; r < end; ++r) {
        const T* row = args.x.data_as<T>() + r * C;
        const Floats largest = splat(max_of(C, row));
        const auto weight = [&](Floats v) HWY_ATTR { return exp(hn::Sub(v, largest)); };
        const Floats scale = splat(1.0f / sum_of(C, weight, row));
        map(
            C, args.y.data_as<T>() + r * C, [&](Floats v) HWY_ATTR { return hn::Mul(weight(v), scale); }, row);
      }
    });
  });
}

void SoftmaxBackward(const kernel::SoftmaxBackward& args) {
  const std::int64_t C = args.y.shape().last();
  with_storage(args.y.dtype(), [&](auto zero) HWY_ATTR {
    using T = decltype(zero);
    parallel_rows(args.y.shape().rows(), C, [&](std::int64_t begin, std::int64_t end) HWY_ATTR {
      for (std::int64_t r = begin; r < end; ++r) {
        const T* p = args.y.data_as<T>() + r * C;
        const T* d = args.dy.data_as<T>() + r * C;
        const Floats mean = splat(sum_of(
            C, [](Floats a, Floats b) HWY_ATTR { return hn::Mul(a, b); }, p, d));
        const auto f = [&](Floats a, Floats b) HWY_ATTR { return hn::Mul(a, hn::Sub(b, mean)); };
        map(C, args.dx.data_as<T>() + r * C, f, p, d);
      }
    });
  });
}

/// The gain, or a row of ones where there is none.
template <class T>
HWY_INLINE Tensor gain_or_ones(const Tensor& gain, const Tensor& x) {
  if (gain) return gain;
  const Tensor ones = Tensor::empty({x.shape().last()}, x.dtype(), x.device(), Pool::scratch);
  std::fill_n(ones.data_as<T>(), ones.numel(), T(1.0f));
  return ones;
}

/// The sum with the residual is normalised as it was stored, in the rounding of T: backward reads these values.
template <class T>
void norm_rows(const kernel::Norm& args) {
  const std::int64_t C = args.x.shape().last();
  const Tensor gain_row = gain_or_ones<T>(args.gain, args.x);
  const T* gain = gain_row.data_as<T>();
  parallel_rows(args.x.shape().rows(), C, [&](std::int64_t begin, std::int64_t end) HWY_ATTR {
    for (std::int64_t r = begin; r < end; ++r) {
      const T* x = args.x.data_as<T>() + r * C;
      T* y = args.y.data_as<T>() + r * C;
      if (args.residual) {
        const auto plus = [](Floats a, Floats b) HWY_ATTR { return hn::Add(a, b); };
        T* sum = args.sum.data_as<T>() + r * C;
        map(C, sum, plus, x, args.residual.data_as<T>() + r * C);
        x = sum;
      }
      float mean = 0.0f;
      if (args.kind == NormKind::layer) {
        mean = sum_of(
                   C, [](Floats v) HWY_ATTR { return v; }, x) /
               static_cast<float>(C);
        if (args.mean) args.mean.data_as<float>()[r] = mean;
      }
      const Floats centre = splat(mean);
      const auto square = [&](Floats v) HWY_ATTR {
        const Floats d = hn::Sub(v, centre);
        return hn::Mul(d, d);
      };
      const auto rstd = static_cast<float>(1.0 / std::sqrt(sum_of(C, square, x) / static_cast<double>(C) + args.eps));
      args.rstd.data_as<float>()[r] = rstd;
      const Floats scale = splat(rstd);
      const auto scaled = [&](Floats v, Floats g) HWY_ATTR { return hn::Mul(hn::Mul(hn::Sub(v, centre), scale), g); };
      if (args.bias) {
        const auto f = [&](Floats v, Floats g, Floats b) HWY_ATTR { return hn::Add(scaled(v, g), b); };
        map(C, y, f, x, gain, args.bias.data_as<const T>());
      } else {
        map(C, y, scaled, x, gain);
      }
    }
  });
}

void NormForward(const kernel::Norm& args) {
  with_storage(args.x.dtype(), [&](auto zero) HWY_ATTR { norm_rows<decltype(zero)>(args); });
}

/// With h = (x - mean) rstd and g = gain dy: dx = rstd (g - mean(g) - h mean(g h)) + dsum, where rms has no mean(g);
/// dgain = sum over rows of h dy, dbias of dy: per chunk of rows into `dgain_parts` and `dbias_parts` (chunks, C),
/// where these are wanted.
template <class T>
void norm_backward_rows(const kernel::NormBackward& args, const Tensor& dgain_parts, const Tensor& dbias_parts) {
  const std::int64_t R = args.x.shape().rows(), C = args.x.shape().last();
  const Tensor gain_row = gain_or_ones<T>(args.gain, args.x);
  const T* gain = gain_row.data_as<T>();
  parallel_rows(R, C, [&](std::int64_t begin, std::int64_t end) HWY_ATTR {
    const std::int64_t chunk = begin / rows_per_chunk(C);
    float* dgain = dgain_parts ? dgain_parts.data_as<float>() + chunk * C : nullptr;
    float* dbias = dbias_parts ? dbias_parts.data_as<float>() + chunk * C : nullptr;
    if (dgain) std::fill_n(dgain, C, 0.0f);
    if (dbias) std::fill_n(dbias, C, 0.0f);
    for (std::int64_t r = begin; r < end; ++r) {
      const T* x = args.x.data_as<T>() + r * C;
      const T* dy = args.dy.data_as<T>() + r * C;
      T* dx = args.dx.data_as<T>() + r * C;
      const Floats centre = splat(args.mean ? args.mean.data_as<float>()[r] : 0.0f);
      const Floats scale = splat(args.rstd.data_as<float>()[r]);
      const auto normalized = [&](Floats v) HWY_ATTR { return hn::Mul(hn::Sub(v, centre), scale); };

      const auto product = [&](Floats d, Floats g) HWY_ATTR { return hn::Mul(d, g); };
      const auto moment = [&](Floats d, Floats g, Floats v) HWY_ATTR { return hn::Mul(hn::Mul(d, g), normalized(v)); };
      const float sum = args.kind == NormKind::layer ? sum_of(C, product, dy, gain) : 0.0f;
      const Floats mean_g = splat(sum / static_cast<float>(C));
      const Floats mean_gh = splat(sum_of(C, moment, dy, gain, x) / static_cast<float>(C));
      const auto slope = [&](Floats d, Floats g, Floats v) HWY_ATTR {
        return hn::Mul(scale, hn::NegMulAdd(normalized(v), mean_gh, hn::MulSub(d, g, mean_g)));
      };
      if (args.dsum) {
        const auto f = [&](Floats d, Floats g, Floats v, Floats s) HWY_ATTR { return hn::Add(slope(d, g, v), s); };
        map(C, dx, f, dy, gain, x, args.dsum.data_as<const T>() + r * C);
      } else {
        map(C, dx, slope, dy, gain, x);
      }
      if (dgain) {
        const auto f = [&](Floats part, Floats d, Floats v) HWY_ATTR { return hn::MulAdd(d, normalized(v), part); };
        map(C, dgain, f, dgain, dy, x);
      }
      if (dbias)
        map(
            C, dbias, [](Floats part, Floats d) HWY_ATTR { return hn::Add(part, d); }, dbias, dy);
    }
  });
}

void NormBackwardRows(const kernel::NormBackward& args, const Tensor& dgain_parts, const Tensor& dbias_parts) {
  with_storage(args.x.dtype(),
               [&](auto zero) HWY_ATTR { norm_backward_rows<decltype(zero)>(args, dgain_parts, dbias_parts); });
}

}  // namespace monge::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace monge::cpu {

HWY_EXPORT(Softmax);
HWY_EXPORT(SoftmaxBackward);
HWY_EXPORT(NormForward);
HWY_EXPORT(NormBackwardRows);

void CpuBackend::compute(const kernel::Softmax& args) { HWY_DYNAMIC_DISPATCH(Softmax)(args); }

void CpuBackend::compute(const kernel::SoftmaxBackward& args) { HWY_DYNAMIC_DISPATCH(SoftmaxBackward)(args); }

void CpuBackend::compute(const kernel::Norm& args) { HWY_DYNAMIC_DISPATCH(NormForward)(args); }

void CpuBackend::compute(const kernel::NormBackward& args) {
  const std::int64_t C = args.x.shape().last();
  const Shape parts{chunk_count(args.x.shape().rows(), rows_per_chunk(C)), C};
  const auto parts_of = [&](const Tensor& wanted) {
    return wanted ? Tensor::empty(parts, DType::f32, device(), Pool::scratch) : Tensor();
  };
  const Tensor dgain_parts = parts_of(args.dgain), dbias_parts = parts_of(args.dbias);
  HWY_DYNAMIC_DISPATCH(NormBackwardRows)(args, dgain_parts, dbias_parts);
  if (args.dgain) add_parts(dgain_parts, 1.0, args.dgain, args.accumulate_gain);
  if (args.dbias) add_parts(dbias_parts, 1.0, args.dbias, args.accumulate_bias);
}

}  // namespace monge::cpu
#endif
