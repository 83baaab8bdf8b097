#include "tools/verify/papers/in_context.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <memory>

namespace monge::tools {
namespace {

const Source collins{"Collins 2024",
                     "In-context learning with transformers: softmax attention adapts to function "
                     "Lipschitzness, arXiv:2402.11639"};
using Kind = TaskLaw::Kind;
constexpr std::array kinds{Kind::affine, Kind::relu, Kind::cosine};
using Point = InContextStudy::Point;

/// Which of L, n and sigma a point of the study changes.
struct Change {
  double lipschitz = 2.0, noise = 0.5;
  std::int64_t n = 32;
};
constexpr std::array changes{Change{}, Change{.lipschitz = 4.0}, Change{.n = 128}, Change{.noise = 0.1}};
enum At : std::size_t { base, steep, many, quiet };

/// The points of one kind stand in the order of `changes`.
const Point& point(const InContextStudy& study, std::size_t kind, At at) {
  return study.points[kind * changes.size() + at];
}

/// d ln w / d ln (what changed), from the base to `at`.
double slope(const InContextStudy& study, std::size_t kind, At at, double ratio) {
  return std::log(point(study, kind, at).best.w / point(study, kind, base).best.w) / std::log(ratio);
}

/// The share of M that reads or writes axes beyond the first `rank`.
double outside_share(const Matrix& m, std::int64_t rank) {
  Matrix rest = m;
  rest.topLeftCorner(rank, rank).setZero();
  return rest.norm() / m.norm();
}

double least(const std::function<double(std::size_t)>& f) {
  double out = std::numeric_limits<double>::infinity();
  for (std::size_t kind = 0; kind < kinds.size(); ++kind) out = std::min(out, f(kind));
  return out;
}

}  // namespace

InContextStudy study_in_context(std::uint64_t seed, const InContextUnit& unit) {
  InContextStudy out;
  for (const Kind kind : kinds) {
    for (const Change& c : changes) {
      const TaskLaw law{.kind = kind, .lipschitz = c.lipschitz, .noise = c.noise, .n = c.n};
      RandomSequence random(seed, in_context_stream, 4);
      out.points.push_back(
          {law, best_window(law, seed), trained_window(law, seed, unit), linear_error(draw_tasks(law, 4000, random))});
    }
  }
  TaskLaw narrow{.kind = Kind::affine, .lipschitz = 3.0, .noise = 0.1, .n = 64, .d = 6, .rank = 2};
  out.outside = outside_share(trained_matrix(narrow, seed, unit), narrow.rank);
  const std::int64_t rank = std::exchange(narrow.rank, 0);
  out.outside_full = outside_share(trained_matrix(narrow, seed, unit), rank);

  out.updates = update_runs({.lipschitz = 3.0, .noise = 0.3, .d = 4, .rank = 2}, seed);
  return out;
}

Findings in_context_findings(const InContextStudy& study) {
  Findings out{.title = fmt::format("a softmax unit trained over tasks on the sphere of R^{}: affine, relu and cosine "
                                    "functions",
                                    study.points.front().law.d)};
  const auto add = [&](const char* text, double measured, double bound, bool at_least = false) {
    out.claims.push_back({text, collins, measured, bound, at_least});
  };
  add("best w ~ L^p: p, least", least([&](std::size_t k) { return slope(study, k, steep, 2.0); }), 0.1, true);
  add("best w ~ n^p: p, least", least([&](std::size_t k) { return slope(study, k, many, 4.0); }), 0.1, true);
  add("best w ~ sigma^-p: p, least", least([&](std::size_t k) { return slope(study, k, quiet, 5.0); }), 0.1, true);
  double gap = 0.0, ratio = std::numeric_limits<double>::infinity();
  for (const Point& p : study.points) {
    gap = std::max(gap, std::abs(p.learned / p.best.w - 1.0));
    ratio = std::min(ratio, p.linear / p.best.error);
  }
  add("learned w / best w - 1, worst", gap, 0.2);
  add("no softmax: error / softmax's, least", ratio, 1.0, true);
  add("2 axes of 6: share of M outside", study.outside, 0.2);
  add("all 6 axes: the same", study.outside_full, 0.7, true);
  double reached = 0.0;
  for (const UpdateRun& run : study.updates) {
    reached = std::max(reached, *std::ranges::min_element(run.errors));
  }
  out.claims.push_back({"2 axes of 4: error / best w I's, worst", {}, reached, UpdateRun::goal});

  for (const Point& p : study.points) {
    out.notes.push_back(fmt::format(
        "{}, L {}, n {}, sigma {}: best w {:.2f}, learned {:.2f}; error {:.4f}, without a "
        "softmax {:.4f}.",
        name_of(p.law.kind), p.law.lipschitz, p.law.n, p.law.noise, p.best.w, p.learned, p.best.error, p.linear));
  }
  for (const UpdateRun& run : study.updates) {
    out.notes.push_back(fmt::format("{}: {} to {} of that error at lr {}, the best of three; least error {:.3f}.",
                                    run.update, run.steps ? fmt::format("{} steps", *run.steps) : "never",
                                    UpdateRun::goal, run.lr, *std::ranges::min_element(run.errors)));
  }
  return out;
}

Examined examine_in_context(std::uint64_t seed) {
  const auto study = std::make_shared<InContextStudy>(study_in_context(seed));
  return {{in_context_findings(*study)}, [study] { return in_context_svg(*study); }};
}

}  // namespace monge::tools
