#include "tools/branch/branch.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "core/backend.h"
#include "core/error.h"
#include "optim/attention/attention_update.h"
#include "train/batches.h"
#include "train/checkpoint/checkpoint.h"
#include "train/checkpoint/data_identity.h"
#include "train/evaluate.h"
#include "train/run.h"

namespace monge::tools {
namespace {

using Values = std::vector<double>;  // flat, as in the store

/// The elements that a name of BranchedMatrices stands for.
struct Range {
  std::size_t begin, end;
};
struct Ranges {
  std::string name;
  std::vector<Range> ranges;
};

std::vector<Ranges> ranges_of(const train::Run& run) {
  std::vector<Ranges> out{{"W_q", {}}, {"W_k", {}}, {"other", {}}};
  std::vector<bool> taken(static_cast<std::size_t>(run.store->values().numel()), false);
  for (const optim::AttentionLayer& at : optim::attention_layers(*run.model)) {
    for (const auto& [which, matrix] : {std::pair{0, &at.query}, {1, &at.key}}) {
      const auto begin = static_cast<std::size_t>(matrix->begin(*run.store));
      const Range range{begin, begin + static_cast<std::size_t>(matrix->size())};
      out[static_cast<std::size_t>(which)].ranges.push_back(range);
      std::fill(taken.begin() + static_cast<std::ptrdiff_t>(range.begin),
                taken.begin() + static_cast<std::ptrdiff_t>(range.end), true);
    }
  }
  for (std::size_t begin = 0; begin < taken.size();) {
    const auto end = static_cast<std::size_t>(
        std::find(taken.begin() + static_cast<std::ptrdiff_t>(begin), taken.end(), !taken[begin]) - taken.begin());
    if (!taken[begin]) out.back().ranges.push_back({begin, end});
    begin = end;
  }
  return out;
}

double inner(const Values& a, const Values& b, const Ranges& where) {
  double sum = 0.0;
  for (const Range& range : where.ranges) {
    for (std::size_t i = range.begin; i < range.end; ++i) sum += a[i] * b[i];
  }
  return sum;
}

Values difference(const Values& a, const Values& b) {
  Values out(a.size());
  std::ranges::transform(a, b, out.begin(), std::minus{});
  return out;
}

void set_values(const train::Run& run, const Values& values) {
  const Tensor& to = run.store->values();
  to.backend().copy({.from = Tensor::from(values, to.shape(), to.dtype(), to.device()), .to = to});
  run.store->refresh_copies();
}

/// One run at one checkpoint.
class Branched {
 public:
  Branched(const train::Checkpoint& checkpoint, const std::vector<std::string>& overrides)
      : run_(checkpoint.config(overrides)), turn_(run_), start_(checkpoint.state().step) {
    const std::string difference = train::data_difference(checkpoint, run_.config, *run_.dataset);
    if (!difference.empty()) throw InputError("the data is another than that of the run: " + difference);
    const optim::EvaluationWeights averaged(*run_.optimizer);  // which are those that a checkpoint holds
    checkpoint.restore(*run_.store);
    const SafeTensors file(checkpoint.directory() / "optimizer.safetensors");
    for (const auto& [name, tensor] : run_.optimizer->state()) {
      if (file.contains(name)) {
        file.read(name, tensor);
      } else if (name == "trained") {
        throw InputError(
            "these settings evaluate at an average of the parameters (ema, schedule_free), which the run did not keep; "
            "allowed: rules and transforms without one");
      }
    }
  }

  Branch take(std::int64_t steps) {
    Branch out{.step = start_, .settings = {}, .matrices = {}};
    out.before = loss();
    const Values before = run_.store->values().values();
    const auto step = run_.training_step(steps);
    train::BatchQueue queue(*run_.dataset, run_.model->batch_fields(), step->first_batch(start_ + 1),
                            run_.config.train.batch);
    for (std::int64_t n = 1; n <= steps; ++n) step->run(start_ + n, [&] { return queue.next(); });
    out.after = loss();
    const Values after = run_.store->values().values();
    moved_ = difference(after, before);

    const std::vector<Ranges> ranges = ranges_of(run_);
    Values attention = before;
    for (const Ranges& where : {ranges[0], ranges[1]}) {
      for (const Range& range : where.ranges) {
        std::copy(after.begin() + static_cast<std::ptrdiff_t>(range.begin),
                  after.begin() + static_cast<std::ptrdiff_t>(range.end),
                  attention.begin() + static_cast<std::ptrdiff_t>(range.begin));
      }
    }
    set_values(run_, attention);
    out.after_attention = loss();
    return out;
  }

  /// Beside what the run's own settings did.
  std::vector<BranchedMatrices> beside(const Values& own) const {
    std::vector<BranchedMatrices> out;
    for (const Ranges& where : ranges_of(run_)) {
      if (where.ranges.empty()) continue;
      const double length = std::sqrt(inner(moved_, moved_, where)), other = std::sqrt(inner(own, own, where));
      out.push_back({.name = where.name,
                     .length = length,
                     .relative = length / other,
                     .cosine = inner(moved_, own, where) / (length * other)});
    }
    return out;
  }
  const Values& moved() const { return moved_; }

 private:
  double loss() {
    const optim::EvaluationWeights averaged(*run_.optimizer);
    return train::evaluate(*run_.model, *run_.dataset, run_.device, run_.config.train.batch,
                           run_.config.train.eval_batches)
        .loss;
  }

  train::Run run_;
  train::Run::Turn turn_;
  std::int64_t start_;
  Values moved_;
};

}  // namespace

std::vector<Branch> branch(const std::filesystem::path& run_or_checkpoint, const std::vector<std::string>& settings,
                           std::int64_t steps) {
  std::vector<Branch> out;
  for (const auto& path : train::kept_checkpoints(run_or_checkpoint)) {
    const train::Checkpoint checkpoint(path);
    checkpoint.verify();
    if (checkpoint.state().step + steps > checkpoint.config().train.steps) continue;
    Values own;
    for (std::size_t k = 0; k <= settings.size(); ++k) {
      Branched branched(checkpoint, k == 0 ? std::vector<std::string>{} : std::vector{settings[k - 1]});
      out.push_back(branched.take(steps));
      if (k == 0) own = branched.moved();
      if (k > 0) out.back().settings = settings[k - 1];
      out.back().matrices = branched.beside(own);
    }
  }
  if (out.empty()) {
    throw InputError(
        fmt::format("no checkpoint of '{}' has {} steps of the run before it; train with train.keep_checkpoints and "
                    "train.checkpoint_every such that one is kept earlier, or lower --steps",
                    run_or_checkpoint.string(), steps));
  }
  return out;
}

}  // namespace monge::tools
