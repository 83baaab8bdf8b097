#include "core/cuda/cudnn/attention_check.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <vector>

#include "core/error.h"

namespace monge::MONGE_GPU {
namespace {

constexpr double largest_error = 0.03;      // of the largest element: two roundings to bf16, and the order of the sums
constexpr double largest_log_error = 0.01;  // of a log-sum-exp, which is in f32
constexpr double far_score = -100.0;        // exp of it is 0 in f32

/// Memory with the layout of a call's, under the same sharing: views of one packed tensor stay views of one tensor.
class Copies {
 public:
  HeadView operator()(HeadView view) {
    Tensor& copy = copies_[view.data.data()];
    if (!copy) {
      copy = Tensor::like(view.data, Pool::scratch);
      copy.backend().fill({.x = copy});
    }
    view.data = copy;
    return view;
  }

 private:
  std::map<void*, Tensor> copies_;
};

void randomise(const HeadView& view, std::uint32_t stream) {
  view.data.backend().normal({.x = view.data, .random = {.seed = 20, .stream = stream, .step = {}}});
}

void write(const HeadView& view, std::int64_t token, const std::vector<double>& head) {
  const auto width = static_cast<std::int64_t>(head.size());
  const Tensor to = view.data.flat_view(view.offset + token * view.token_stride, {width});
  to.backend().copy({.from = Tensor::from(head, {width}, to.dtype(), to.device(), Pool::scratch), .to = to});
}

/// Keys of the first head have 4 as their first element, and the last query nothing else.
void place_far_scores(const kernel::Attention& a) {
  constexpr double first = 4.0;
  RandomSequence random(20, 100);
  std::vector<double> head(static_cast<std::size_t>(a.head_dim));
  for (std::int64_t j = 0; j < a.keys; ++j) {
    for (double& x : head) x = random.normal();
    head[0] = first;
    write(a.k, j, head);
  }
  std::fill(head.begin(), head.end(), 0.0);
  head[0] = far_score / (first * a.scale);
  write(a.q, a.queries - 1, head);
}

/// The call on memory of its own, with inputs in place.
kernel::Attention rehearsal(kernel::Attention a) {
  Copies copies;
  std::uint32_t stream = 0;
  for (HeadView* view : {&a.q, &a.k, &a.v}) {
    *view = copies(*view);
    randomise(*view, stream++);
  }
  place_far_scores(a);
  a.out = Copies()(a.out);
  a.row_stat = Tensor::like(a.row_stat, Pool::scratch);
  return a;
}

kernel::Attention first_sequence(kernel::Attention a) {
  a.batch = 1;
  a.row_stat = a.row_stat.slice(0, 1);
  return a;
}

/// (tokens, heads, D) of the first sequence.
std::vector<double> values_of(const HeadView& view, std::int64_t tokens, std::int64_t width) {
  const std::int64_t span = (tokens - 1) * view.token_stride + width;
  const std::vector<double> all = view.data.flat_view(view.offset, {span}).values();
  std::vector<double> out;
  for (std::int64_t t = 0; t < tokens; ++t) {
    const auto row = all.begin() + t * view.token_stride;
    out.insert(out.end(), row, row + width);
  }
  return out;
}

/// Appends to `problem` when `got` is further from `expected` than `allowed` times its largest element.
void compare(const char* name, const std::vector<double>& got, const std::vector<double>& expected, double allowed,
             double unit, std::string& problem) {
  double error = 0.0;
  for (std::size_t i = 0; i < got.size(); ++i) {
    if (!std::isfinite(got[i])) {
      problem += fmt::format("{}{} has an element {}", problem.empty() ? "" : ", ", name, got[i]);
      return;
    }
    error = std::max(error, std::abs(got[i] - expected[i]));
  }
  if (error > allowed * unit) {
    problem +=
        fmt::format("{}{} is off by {:.2g} ({:.2g} allowed)", problem.empty() ? "" : ", ", name, error, allowed * unit);
  }
}

double largest(const std::vector<double>& values) {
  double most = 0.0;
  for (const double x : values) most = std::max(most, std::abs(x));
  return most;
}

void compare(const char* name, const HeadView& got, const HeadView& expected, std::int64_t tokens, std::int64_t width,
             std::string& problem) {
  const auto values = values_of(expected, tokens, width);
  compare(name, values_of(got, tokens, width), values, largest_error, largest(values), problem);
}

}  // namespace

std::string disagreement(const kernel::Attention& like, const AttentionCall& candidate,
                         const AttentionCall& reference) {
  const kernel::Attention mine = rehearsal(like);
  kernel::Attention theirs = first_sequence(mine);
  theirs.out = Copies()(mine.out);
  theirs.row_stat = Tensor::like(theirs.row_stat, Pool::scratch);
  candidate(mine);
  reference(theirs);

  std::string problem;
  compare("out", mine.out, theirs.out, mine.queries, mine.heads * mine.head_dim, problem);
  compare("row_stat", mine.row_stat.slice(0, 1).values(), theirs.row_stat.values(), largest_log_error, 1.0, problem);
  return problem;
}

std::string disagreement(const kernel::AttentionBackward& like, const AttentionCall& forward,
                         const AttentionBackwardCall& candidate, const AttentionBackwardCall& reference) {
  kernel::AttentionBackward mine = like;
  mine.forward = rehearsal(like.forward);
  forward(mine.forward);
  mine.dout = Copies()(like.dout);
  randomise(mine.dout, 3);

  kernel::AttentionBackward theirs = mine;
  theirs.forward = first_sequence(mine.forward);
  for (kernel::AttentionBackward* call : {&mine, &theirs}) {
    Copies copies;
    for (HeadView* gradient : {&call->dq, &call->dk, &call->dv}) *gradient = copies(*gradient);
  }
  candidate(mine);
  reference(theirs);

  const kernel::Attention& a = mine.forward;
  std::string problem;
  compare("dq", mine.dq, theirs.dq, a.queries, a.heads * a.head_dim, problem);
  compare("dk", mine.dk, theirs.dk, a.keys, a.kv_heads * a.head_dim, problem);
  compare("dv", mine.dv, theirs.dv, a.keys, a.kv_heads * a.head_dim, problem);
  return problem;
}

}  // namespace monge::MONGE_GPU
