// Attention that learns functions from their values (Collins et al. 2024, arXiv:2402.11639): a softmax unit
//
//   h(x) = sum_i y_i e^<x_i, M x> / sum_i e^<x_i, M x>,      y_i = f(x_i) + sigma noise
//
// is an estimator of Nadaraya and Watson, and M says how wide its window is. Trained over tasks, each a new function f,
// it learns how fast functions change and in which directions, and how noisy their values are.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "tools/verify/papers/paper.h"
#include "tools/verify/problems.h"

namespace monge::tools {

/// A law of tasks. Points are uniform on the sphere of R^d; a is a uniform direction, of the first `rank` axes if there
/// is a rank.
struct TaskLaw {
  enum class Kind : std::uint8_t { affine, relu, cosine } kind = Kind::affine;
  double lipschitz = 1.0;  // L: f(x) = L (<a, x> + b), L relu(<a, x>) or cos(L <a, x>), b uniform in [-1, 1]
  double noise = 0.3;      // sigma
  std::int64_t n = 32;     // points with values
  std::int64_t d = 5;
  std::int64_t rank = 0;  // 0: d
};
const char* name_of(TaskLaw::Kind kind);

/// B tasks, each with one point at which f is asked for.
struct Tasks {
  std::int64_t count = 0, n = 0, d = 0;
  std::vector<double> x;       // (B, n, d)
  std::vector<double> y;       // (B, n)
  std::vector<double> query;   // (B, d)
  std::vector<double> target;  // (B): f(query)
};
Tasks draw_tasks(const TaskLaw& law, std::int64_t count, RandomSequence& random);
/// Tasks [begin, end) of them.
Tasks slice(const Tasks& tasks, std::int64_t begin, std::int64_t end);

/// Mean (h(x) - f(x))^2 with M = w I, by definition.
double window_error(const Tasks& tasks, double w);
/// Of h(x) = w / n sum_i y_i <x_i, x> with the best w: attention without a softmax.
double linear_error(const Tasks& tasks);
/// The w of the least window_error, and that error.
struct Window {
  double w = 0.0, error = 0.0;
};
Window best_window(const TaskLaw& law, std::uint64_t seed);

/// What ships, unless a test plants a fault.
struct InContextUnit {
  /// Rows of scores (B, 1, n) to weights.
  std::function<autograd::Var(const autograd::Var&)> weights = [](const autograd::Var& z) {
    return autograd::softmax(z);
  };
  /// The loss of predictions and targets.
  std::function<autograd::Var(const autograd::Var&, const autograd::Var&)> loss = autograd::mean_squared_error;
};

/// w and M as trained by AdamW, each step on other tasks of a large set.
double trained_window(const TaskLaw& law, std::uint64_t seed, const InContextUnit& unit = {});
Matrix trained_matrix(const TaskLaw& law, std::uint64_t seed, const InContextUnit& unit = {});

/// The unit as an attention layer of nn/, whose W_q and W_k an update of `optimizer.attention` trains: means over
/// starts.
struct UpdateRun {
  std::string update;
  double lr = 0.0;                    // the best of those that were tried
  std::optional<std::int64_t> steps;  // to `goal`; none: not reached
  std::vector<double> errors;         // every `measured_every` steps, relative to that of M = w I with the best w
  static constexpr double goal = 0.8;
  static constexpr std::int64_t measured_every = 5;
};
std::vector<UpdateRun> update_runs(const TaskLaw& law, std::uint64_t seed);

/// All that is claimed about, measured once.
struct InContextStudy {
  struct Point {
    TaskLaw law;
    Window best;
    double learned = 0.0;  // w
    double linear = 0.0;   // error without a softmax
  };
  std::vector<Point> points;
  double outside = 0.0;       // share of a trained M outside the axes that functions depend on
  double outside_full = 0.0;  // the same after tasks of all directions
  std::vector<UpdateRun> updates;
};
InContextStudy study_in_context(std::uint64_t seed, const InContextUnit& unit = {});
Findings in_context_findings(const InContextStudy& study);
std::string in_context_svg(const InContextStudy& study);

Examined examine_in_context(std::uint64_t seed);

}  // namespace monge::tools
