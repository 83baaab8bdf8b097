#include <algorithm>
#include <cmath>

#include "core/reference/reference_backend.h"

namespace monge {

void ReferenceBackend::compute(const kernel::Softmax& args) {
  const auto rows = args.x.shape().rows(), columns = args.x.shape().last();
  for (std::int64_t r = 0; r < rows; ++r) {
    const double* const z = args.x.data_as<double>() + r * columns;
    double* const p = args.y.data_as<double>() + r * columns;
    const double top = *std::max_element(z, z + columns);
    double total = 0.0;
    for (std::int64_t j = 0; j < columns; ++j) total += p[j] = std::exp(z[j] - top);
    for (std::int64_t j = 0; j < columns; ++j) p[j] /= total;
  }
}

void ReferenceBackend::compute(const kernel::SoftmaxBackward& args) {
  const auto rows = args.y.shape().rows(), columns = args.y.shape().last();
  for (std::int64_t r = 0; r < rows; ++r) {
    const double* const p = args.y.data_as<double>() + r * columns;
    const double* const u = args.dy.data_as<double>() + r * columns;
    double* const dz = args.dx.data_as<double>() + r * columns;
    double mean = 0.0;
    for (std::int64_t j = 0; j < columns; ++j) mean += p[j] * u[j];
    for (std::int64_t j = 0; j < columns; ++j) dz[j] = p[j] * (u[j] - mean);
  }
}

void ReferenceBackend::compute(const kernel::Norm& args) {
  const auto rows = args.x.shape().rows(), columns = args.x.shape().last();
  const auto width = static_cast<double>(columns);
  const double* const gain = args.gain ? args.gain.data_as<double>() : nullptr;
  const double* const bias = args.bias ? args.bias.data_as<double>() : nullptr;
  for (std::int64_t r = 0; r < rows; ++r) {
    const double* x = args.x.data_as<double>() + r * columns;
    double* const y = args.y.data_as<double>() + r * columns;
    if (args.residual) {
      const double* const residual = args.residual.data_as<double>() + r * columns;
      double* const sum = args.sum.data_as<double>() + r * columns;
      for (std::int64_t c = 0; c < columns; ++c) sum[c] = x[c] + residual[c];
      x = sum;
    }
    double mean = 0.0;
    if (args.kind == NormKind::layer) {
      for (std::int64_t c = 0; c < columns; ++c) mean += x[c] / width;
      args.mean.data_as<double>()[r] = mean;
    }
    double variance = 0.0;
    for (std::int64_t c = 0; c < columns; ++c) variance += (x[c] - mean) * (x[c] - mean) / width;
    const double rstd = 1.0 / std::sqrt(variance + args.eps);
    args.rstd.data_as<double>()[r] = rstd;
    for (std::int64_t c = 0; c < columns; ++c) {
      y[c] = (x[c] - mean) * rstd * (gain != nullptr ? gain[c] : 1.0) + (bias != nullptr ? bias[c] : 0.0);
    }
  }
}

// With n = (x - mean) rstd and g = dy gain:  dx = rstd (g - mean(g) - n mean(g n));  rms has no mean(g).
void ReferenceBackend::compute(const kernel::NormBackward& args) {
  const auto rows = args.x.shape().rows(), columns = args.x.shape().last();
  const auto width = static_cast<double>(columns);
  const bool layer = args.kind == NormKind::layer;
  const double* const gain = args.gain ? args.gain.data_as<double>() : nullptr;
  if (args.dgain && !args.accumulate_gain) compute(kernel::Fill{.x = args.dgain});
  if (args.dbias && !args.accumulate_bias) compute(kernel::Fill{.x = args.dbias});
  for (std::int64_t r = 0; r < rows; ++r) {
    const double* const x = args.x.data_as<double>() + r * columns;
    const double* const dy = args.dy.data_as<double>() + r * columns;
    const double* const dsum = args.dsum ? args.dsum.data_as<double>() + r * columns : nullptr;
    double* const dx = args.dx.data_as<double>() + r * columns;
    const double mean = layer ? args.mean.data_as<double>()[r] : 0.0;
    const double rstd = args.rstd.data_as<double>()[r];
    const auto normed = [&](std::int64_t c) { return (x[c] - mean) * rstd; };
    const auto upstream = [&](std::int64_t c) { return dy[c] * (gain != nullptr ? gain[c] : 1.0); };

    double mean_g = 0.0, mean_gn = 0.0;
    for (std::int64_t c = 0; c < columns; ++c) {
      if (layer) mean_g += upstream(c) / width;
      mean_gn += upstream(c) * normed(c) / width;
      if (args.dgain) args.dgain.data_as<double>()[c] += dy[c] * normed(c);
      if (args.dbias) args.dbias.data_as<double>()[c] += dy[c];
    }
    for (std::int64_t c = 0; c < columns; ++c) {
      dx[c] = rstd * (upstream(c) - mean_g - normed(c) * mean_gn) + (dsum != nullptr ? dsum[c] : 0.0);
    }
  }
}

void ReferenceBackend::compute(const kernel::Rope& args) {
  const auto batch = args.x.size(0), tokens = args.x.size(1), width = args.x.size(2), half = args.head_dim / 2;
  if (!args.y.same_memory(args.x)) compute(kernel::Copy{args.x, args.y});
  for (std::int64_t row = 0; row < batch * tokens; ++row) {
    const auto position = static_cast<double>(args.start + row % tokens);
    for (std::int64_t h = 0; h < args.heads; ++h) {
      double* const y = args.y.data_as<double>() + row * width + h * args.head_dim;
      for (std::int64_t i = 0; i < half; ++i) {
        const double exponent = -2.0 * static_cast<double>(i) / static_cast<double>(args.head_dim);
        const double angle = (args.inverse ? -position : position) * std::pow(args.base, exponent);
        const double first = y[i], second = y[i + half];
        y[i] = first * std::cos(angle) - second * std::sin(angle);
        y[i + half] = first * std::sin(angle) + second * std::cos(angle);
      }
    }
  }
}

}  // namespace monge
