// Tasks, and what a window makes of them, in plain double: no code of these is shared with what is trained.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "tools/verify/papers/in_context.h"

namespace monge::tools {
namespace {

/// Appends a uniform point of the sphere of the first `rank` of `d` axes.
void add_point(std::int64_t d, std::int64_t rank, RandomSequence& random, std::vector<double>& out) {
  const std::size_t begin = out.size();
  double squares = 0.0;
  for (std::int64_t i = 0; i < d; ++i) {
    out.push_back(i < rank ? random.normal() : 0.0);
    squares += out.back() * out.back();
  }
  for (std::size_t i = begin; i < out.size(); ++i) out[i] /= std::sqrt(squares);
}

double dot(const double* a, const double* b, std::int64_t n) { return std::inner_product(a, a + n, b, 0.0); }

double value(const TaskLaw& law, const double* direction, double offset, const double* x) {
  const double t = dot(direction, x, law.d);
  switch (law.kind) {
    case TaskLaw::Kind::affine: return law.lipschitz * (t + offset);
    case TaskLaw::Kind::relu: return law.lipschitz * std::max(t, 0.0);
    case TaskLaw::Kind::cosine: return std::cos(law.lipschitz * t);
  }
  return 0.0;
}

}  // namespace

const char* name_of(TaskLaw::Kind kind) {
  switch (kind) {
    case TaskLaw::Kind::affine: return "affine";
    case TaskLaw::Kind::relu: return "relu";
    case TaskLaw::Kind::cosine: return "cosine";
  }
  return "";
}

Tasks draw_tasks(const TaskLaw& law, std::int64_t count, RandomSequence& random) {
  Tasks out{count, law.n, law.d};
  for (std::int64_t b = 0; b < count; ++b) {
    std::vector<double> direction;
    add_point(law.d, law.rank > 0 ? law.rank : law.d, random, direction);
    const double offset = 2.0 * random.uniform() - 1.0;
    const auto f = [&](const std::vector<double>& points) {
      return value(law, direction.data(), offset, points.data() + points.size() - static_cast<std::size_t>(law.d));
    };
    for (std::int64_t i = 0; i < law.n; ++i) {
      add_point(law.d, law.d, random, out.x);
      out.y.push_back(f(out.x) + law.noise * random.normal());
    }
    add_point(law.d, law.d, random, out.query);
    out.target.push_back(f(out.query));
  }
  return out;
}

Tasks slice(const Tasks& tasks, std::int64_t begin, std::int64_t end) {
  const auto part = [&](const std::vector<double>& all) {
    const auto width = static_cast<std::int64_t>(all.size()) / tasks.count;
    return std::vector<double>(all.begin() + begin * width, all.begin() + end * width);
  };
  return {end - begin, tasks.n, tasks.d, part(tasks.x), part(tasks.y), part(tasks.query), part(tasks.target)};
}

double window_error(const Tasks& tasks, double w) {
  double total = 0.0;
  for (std::int64_t b = 0; b < tasks.count; ++b) {
    const double* x = tasks.x.data() + b * tasks.n * tasks.d;
    const double* y = tasks.y.data() + b * tasks.n;
    std::vector<double> scores(static_cast<std::size_t>(tasks.n));
    for (std::int64_t i = 0; i < tasks.n; ++i) {
      const double product = dot(x + i * tasks.d, tasks.query.data() + b * tasks.d, tasks.d);
      scores[static_cast<std::size_t>(i)] = w * product;
    }
    const double largest = *std::ranges::max_element(scores);
    double mass = 0.0, sum = 0.0;
    for (std::size_t i = 0; i < scores.size(); ++i) {
      const double weight = std::exp(scores[i] - largest);
      mass += weight;
      sum += weight * y[i];
    }
    total += std::pow(sum / mass - tasks.target[static_cast<std::size_t>(b)], 2);
  }
  return total / static_cast<double>(tasks.count);
}

double linear_error(const Tasks& tasks) {
  double ff = 0.0, fh = 0.0, hh = 0.0;
  for (std::int64_t b = 0; b < tasks.count; ++b) {
    double h = 0.0;
    for (std::int64_t i = 0; i < tasks.n; ++i) {
      const std::int64_t at = b * tasks.n + i;
      h += tasks.y[static_cast<std::size_t>(at)] *
           dot(tasks.x.data() + at * tasks.d, tasks.query.data() + b * tasks.d, tasks.d);
    }
    const double f = tasks.target[static_cast<std::size_t>(b)];
    ff += f * f;
    fh += f * h;
    hh += h * h;
  }
  return (ff - fh * fh / hh) / static_cast<double>(tasks.count);
}

Window best_window(const TaskLaw& law, std::uint64_t seed) {
  constexpr std::int64_t count = 4000;
  RandomSequence random(seed, in_context_stream);
  const Tasks tasks = draw_tasks(law, count, random);
  // By golden section in ln w: the error falls to its least value and rises again.
  const double share = (std::sqrt(5.0) - 1.0) / 2.0;
  double low = std::log(0.1), high = std::log(200.0);
  const auto error = [&](double t) { return window_error(tasks, std::exp(t)); };
  double a = high - share * (high - low), b = low + share * (high - low), at_a = error(a), at_b = error(b);
  while (high - low > 0.01) {
    if (at_a < at_b) {
      high = b;
      b = a, at_b = at_a;
      a = high - share * (high - low), at_a = error(a);
    } else {
      low = a;
      a = b, at_a = at_b;
      b = low + share * (high - low), at_b = error(b);
    }
  }
  const double w = std::exp((low + high) / 2.0);
  return {w, window_error(tasks, w)};
}

}  // namespace monge::tools
