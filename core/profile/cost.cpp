#include "core/profile/cost.h"

namespace monge::profile {
namespace {

/// Of one head's product over the pairs of queries and keys that see each other.
double flops_of_head(const Attention& a, std::int64_t width) {
  const auto queries = static_cast<double>(a.queries), keys = static_cast<double>(a.keys);
  const double pairs = queries * (a.causal ? keys - queries / 2.0 : keys);
  return 2.0 * static_cast<double>(a.batch) * pairs * static_cast<double>(width);
}

double flops_of_heads(const Attention& a) { return static_cast<double>(a.heads) * flops_of_head(a, a.head_dim); }

}  // namespace

double flops_of(const Matmul& args) {
  const std::int64_t inner = args.a.size(args.transpose_a ? -2 : -1);
  return 2.0 * static_cast<double>(args.out.numel()) * static_cast<double>(inner);
}

double flops_of(const Attention& args) { return 2.0 * flops_of_heads(args); }

double flops_of(const AttentionBackward& args) {
  return (args.row_dq.data.defined() ? 7.0 : 5.0) * flops_of_heads(args.forward);
}

double flops_of(const AttentionMetric& args) {
  return flops_of_head(args.forward, args.forward.head_dim) + flops_of_head(args.forward, args.y.size(-1));
}

}  // namespace monge::profile
