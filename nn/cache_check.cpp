#include "nn/cache_check.h"

#include <algorithm>
#include <cmath>

#include "core/backend.h"
#include "core/error.h"

namespace monge::nn {
namespace {

/// Columns [begin, end) of tokens (B, T).
Tensor columns(const Tensor& tokens, std::int64_t begin, std::int64_t end) {
  const std::vector<double> ids = tokens.values();
  std::vector<std::int32_t> out;
  for (std::int64_t b = 0; b < tokens.size(0); ++b) {
    for (std::int64_t t = begin; t < end; ++t) {
      out.push_back(static_cast<std::int32_t>(ids[static_cast<std::size_t>(b * tokens.size(1) + t)]));
    }
  }
  return Tensor::from(out, {tokens.size(0), end - begin}, tokens.device());
}

}  // namespace

CacheCheck cache_check(Model& model, const Tensor& tokens, DType dtype, double tolerance, const Batch& given) {
  const autograd::Tape::Pause pause;
  model.eval();
  const auto cache =
      model.make_cache({.batch = tokens.size(0), .dtype = dtype, .device = tokens.device(), .given = given});
  require(cache != nullptr, "[cache_check] the model makes no cache");
  CacheCheck check;
  std::int64_t at = 0;
  for (std::int64_t piece = 3; at < tokens.size(1); piece = piece % 4 + 1) {  // a prompt of three, then 4, 1, 2, 3, ...
    const std::int64_t end = std::min(at + piece, tokens.size(1));
    const std::vector<double> got = model.next_logits(columns(tokens, at, end), *cache).value().values();
    Batch whole = given;
    whole.add("tokens", columns(tokens, 0, end));
    const std::vector<double> expected = model.next_logits(whole).value().values();
    at = end;
    double largest = 0.0, difference = got.size() == expected.size() ? 0.0 : INFINITY;
    for (std::size_t i = 0; i < std::min(got.size(), expected.size()); ++i) {
      largest = std::max(largest, std::abs(expected[i]));
      // The order lets a NaN through.
      difference = !(std::abs(got[i] - expected[i]) <= difference) ? std::abs(got[i] - expected[i]) : difference;
    }
    const double relative = difference / std::max(largest, 1e-30);
    if (!(relative <= check.largest_difference)) check.largest_difference = relative;
    if (check.ok && !(relative <= tolerance)) {
      check.ok = false;
      check.message =
          fmt::format("after {} tokens, {} of them in the last piece, the logits differ by {:.2g} of the largest", at,
                      piece, relative);
    }
  }
  return check;
}

}  // namespace monge::nn
