// The worst of what was measured.
#pragma once

namespace monge::tools {

/// Largest error(problem) over the problems; NaN when one is.
template <class Problems, class F>
double worst(const Problems& problems, F error) {
  double out = 0.0;
  for (const auto& problem : problems) {
    const double e = error(problem);
    if (!(e <= out)) out = e;
    if (e != e) return e;
  }
  return out;
}

}  // namespace monge::tools
