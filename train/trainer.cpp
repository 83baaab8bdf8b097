#include "train/trainer.h"

#include <omp.h>

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "core/options/yaml.h"
#include "train/checkpoint/data_identity.h"
#include "train/config/config_changes.h"
#include "train/console/interrupt.h"
#include "train/console/summary.h"
#include "train/sampler.h"

namespace fs = std::filesystem;

namespace monge::train {

namespace {

/// Whether the validation losses of both measure the same, so that the lowest of them is the best.
bool compare_losses(Config before, Config now) {
  const bool all_windows = now.train.eval_batches == 0;
  return std::ranges::none_of(config_changes(write_yaml(before), write_yaml(now)), [&](const ConfigChange& change) {
    return change.key == "train.eval_batches" || (change.key == "train.batch" && !all_windows) ||
           (change.key.starts_with("data.") && !change.key.starts_with("data.path") && change.key != "data.cache");
  });
}

/// Markdown that keeps lines and spaces.
std::string as_code(const std::string& text) {
  std::string out = "    ";
  for (const char c : text) {
    out += c;
    if (c == '\n') out += "    ";
  }
  return out;
}

}  // namespace

Trainer::Trainer(Config config, std::shared_ptr<RunFolder> folder, Progress& progress)
    : progress_(progress),
      folder_(std::move(folder)),
      checkpoint_(open_checkpoint(config)),
      run_(make_run(std::move(config))) {
  const Run::Turn turn(run_);
  check_inputs();
  if (checkpoint_) state_ = checkpoint_->state();
  complete_ = done() && fs::exists(folder_->summary());
  if (complete_) {
    progress_.note(
        fmt::format("step {} was the last: nothing is left to do, and nothing is changed; raise {} to train on",
                    state_.step, out_of_patience() ? "train.patience" : "train.steps"));
    checkpoint_.reset();
    return;
  }
  print_banner();
  training_ = run_.training_step(std::min(run_.config.train.log_every, run_.config.train.steps) +
                                 static_cast<std::int64_t>(state_.record.size()));
  begins_with_ = start_identity(run_);
  if (checkpoint_) restore(*checkpoint_);
  checkpoint_.reset();
  state_.vocab = run_.dataset->vocab();
  state_.tokenizer = run_.dataset->tokenizer().save();
  state_.data = content_text(run_.config, *run_.dataset);
  state_.config = write_yaml(run_.config);
  start_files();
}

Run Trainer::make_run(Config config) const {
  if (!checkpoint_ || config.train.from.empty()) return Run(std::move(config));
  return Run(std::move(config), load_tokenizer(checkpoint_->state().tokenizer).get());
}

std::optional<Checkpoint> Trainer::open_checkpoint(Config& config) {
  if (!folder_->warning().empty()) progress_.note(folder_->warning());
  if (!folder_->resume()) return std::nullopt;
  const auto newest = newest_checkpoint(folder_->checkpoints());
  if (!newest) {
    progress_.note(fmt::format("{} holds no checkpoint yet: starting from scratch", folder_->path().string()));
    return std::nullopt;
  }
  Checkpoint checkpoint(*newest);
  checkpoint.verify();
  const std::int64_t step = checkpoint.state().step;
  Config before = checkpoint.config();
  const std::vector<ConfigChange> changes = allowed_changes(write_yaml(before), write_yaml(config));
  if (config.train.steps < step) {
    throw InputError(fmt::format(
        "--resume: the run has taken {} steps, and train.steps is {}; raise it to {} or more, or start a new "
        "run with another --out. Nothing was changed",
        step, config.train.steps, step));
  }
  for (const ConfigChange& change : changes) {
    progress_.note(fmt::format("changed since the checkpoint: {}", change.str()));
  }
  progress_.note(fmt::format("continuing after step {} from {}", step, newest->string()));
  return checkpoint;
}

void Trainer::check_inputs() const {
  if (checkpoint_) {
    const std::string difference = data_difference(*checkpoint_, run_.config, *run_.dataset);
    if (!difference.empty()) {
      throw InputError(fmt::format(
          "--resume: the data is another than that of the checkpoint: {}; restore it, or start a new run with "
          "another --out",
          difference));
    }
  }
  if (run_.dataset->validation_windows() < 1) {
    throw InputError(
        fmt::format("data.kind {} has no validation window, and a run measures its loss there", run_.config.data.kind));
  }
  if (!run_.model->predicts_tokens()) return;
  if (std::ranges::none_of(run_.model->batch_fields(), [](const auto& field) { return field.name == "targets"; })) {
    throw InputError(
        fmt::format("model.kind {} lists no field 'targets' in batch_fields(), and its loss is measured there",
                    run_.config.model.kind));
  }
  if (run_.config.train.sample_tokens == 0) return;
  try {
    run_sample(*run_.dataset, *run_.model, run_.device, run_.config.train.sample_prompt);
  } catch (const InputError& error) {
    throw InputError(fmt::format("train.sample_prompt: {}", error.what()));
  }
}

void Trainer::restore(const Checkpoint& checkpoint) {
  const optim::EvaluationWeights averaged(*run_.optimizer);
  checkpoint.restore(*run_.store);
  checkpoint.restore(*run_.optimizer);
  training_->restore_record(state_.record);
  seconds_before_ = state_.seconds;
  if (state_.best_val_loss && !compare_losses(checkpoint.config(), run_.config)) {
    progress_.note("the validation loss is measured otherwise than before: the search for the best one starts anew");
    state_.best_val_loss.reset();
    state_.best_step = state_.since_best = 0;
  }
}

void Trainer::start_files() {
  fs::create_directories(folder_->checkpoints());
  fs::remove(folder_->summary());
  write_text_file(folder_->config(), state_.config);
  metrics_ = std::make_unique<MetricsFile>(folder_->metrics(), state_.step);
  if (run_.config.train.tensorboard) {
    events_.emplace(folder_->path(), folder_->metrics(), state_.seconds);
    events_->append_text("config", state_.step, as_code(state_.config));
  }
}

void Trainer::print_banner() {
  progress_.note(fmt::format("device   {}", run_.backend().description()));
  progress_.note(fmt::format("data     {}", run_.dataset->description()));
  progress_.note(fmt::format("model    {}", parameters_text(*run_.model)));
  progress_.note(fmt::format("         {}", memory_text(run_.plan)));
  progress_.note(groups_text(*run_.optimizer));
  for (const std::string& note : run_.optimizer->notes()) progress_.note(note);
  progress_.note(fmt::format("run      {} steps of {} tokens, into {}", run_.config.train.steps,
                             thousands(run_.tokens_per_step()), folder_->path().string()));
}

void Trainer::begin() {
  if (run_.device.kind != DeviceKind::reference) {
    // MFU is measured against what this machine reaches in the precision of the run, or in float32 where that is more.
    const bool bf16 = run_.store->copies().defined();
    matmul_peak_ = run_.backend().matmul_peak(bf16 ? DType::bf16 : DType::f32);
    if (bf16 && run_.device.kind == DeviceKind::cpu) {
      const double f32 = run_.backend().matmul_peak(DType::f32);
      if (matmul_peak_ < f32) {
        progress_.note(
            fmt::format("warning: products in bfloat16 make {}FLOP/s on this processor, in float32 {}FLOP/s; "
                        "train.precision: float32 is faster",
                        count_text(matmul_peak_), count_text(f32)));
      }
      matmul_peak_ = std::max(matmul_peak_, f32);
    }
    progress_.note(fmt::format("matmul   {}FLOP/s measured, the reference for MFU", count_text(matmul_peak_)));
  }
  // A GPU's memory is taken before the first step, so that a run which does not fit fails here.
  if (run_.device.kind == DeviceKind::cuda) run_.backend().memory().reserve(run_.plan.activations, Pool::activations);
  queue_ = std::make_unique<BatchQueue>(*run_.dataset, run_.model->batch_fields(),
                                        training_->first_batch(state_.step + 1), run_.config.train.batch);
  start_ = lap_ = looked_ = Clock::now();
  before_ = processor_time();
  run_.backend().memory().reset_peak();
  if (line_owed()) {
    write_line(evaluation_due());
    save(is_lowest());
  }
}

bool Trainer::line_owed() const { return state_.step > 0 && line_due() && !state_.record.losses.empty(); }

bool Trainer::advance(const Stop& stop) {
  const Run::Turn turn(run_);
  if (queue_ == nullptr) begin();
  lap(false);
  const profile::Span span("step");
  const TrainOptions& t = run_.config.train;
  training_->run(++state_.step, [this] { return queue_->next(); });
  if (std::exchange(first_step_, false)) {  // kernels have made their choices
    for (const std::string& note : run_.backend().notes()) progress_.note(note);
  }
  ++timed_steps_;
  state_.tokens += run_.tokens_per_step();
  state_.val_loss.reset();
  bool lowest = false, cut = false;  // cut: an evaluation that a stop has ended; its line is written after a resume
  try {
    if (line_due()) {
      write_line(evaluation_due());
      lowest = is_lowest();
    }
  } catch (const Interrupted&) {
    cut = true;
  }
  const bool stopping = cut || (!done() && stop());
  if (done() || stopping || due(t.checkpoint_every) || (lowest && t.keep_best)) save(lowest);
  lap(true);
  return !stopping;
}

RunEnd Trainer::run(const Stop& stop, StepProfile* steps) {
  if (complete_) return RunEnd::finished;
  const Run::Turn turn(run_);
  bool stopped = false;
  try {
    if (queue_ == nullptr && (!done() || line_owed())) begin();
    while (!done() && !stopped) {
      if (steps != nullptr) steps->begin_step();
      stopped = !advance(stop);
      if (steps != nullptr) steps->end_step();
    }
    queue_.reset();
    if (steps != nullptr) progress_.note(steps->finish());
    if (!stopped) finish();
  } catch (const Interrupted&) {
    stopped = true;  // beside a step: the checkpoint of the last one is there
  }
  if (!stopped) return RunEnd::finished;
  progress_.note(
      fmt::format("stopped after step {}; continue with --out {} --resume", state_.step, folder_->path().string()));
  return RunEnd::interrupted;
}

void Trainer::lap(bool training) {
  const Clock::time_point now = Clock::now();
  if (training) training_seconds_ += std::chrono::duration<double>(now - lap_).count();
  lap_ = now;
}

void Trainer::look_for_others() {
  constexpr auto between = std::chrono::seconds(3);
  constexpr double share_to_tell = 0.2;
  if (!before_ || Clock::now() < looked_ + between) return;
  const ProcessorTime now = processor_time();
  const double used = now.used - before_->used, waited = now.waited - before_->waited;
  before_ = now;
  looked_ = Clock::now();
  if (waited <= share_to_tell * (used + waited)) return;
  const int threads = omp_get_max_threads();
  progress_.note(fmt::format(
      "the machine is busy: this run's threads wait {:.0f}% of their time for a processor, and steps take "
      "longer; end other programs{}",
      100.0 * waited / (used + waited), threads > 1 ? fmt::format(", or lower train.threads (now {})", threads) : ""));
  before_.reset();
}

void Trainer::write_line(bool with_evaluation) {
  const profile::Span log("log");
  const StepRecord record = training_->record();
  check_finite(record);
  lap(true);
  if (with_evaluation) {
    const profile::Span span("evaluate");
    const optim::EvaluationWeights averaged(*run_.optimizer);
    evaluation_ =
        evaluate(*run_.model, *run_.dataset, run_.device, run_.config.train.batch, run_.config.train.eval_batches);
    if (!std::isfinite(evaluation_->loss)) {
      diverge(fmt::format("step {}: the validation loss is {}; lower optimizer.lr or raise the warmup", state_.step,
                          evaluation_->loss));
    }
    state_.val_loss = evaluation_->loss;
  }
  training_->clear_record();
  MetricsLine line{.step = state_.step,
                   .tokens = state_.tokens,
                   .seconds = seconds_before_ + std::chrono::duration<double>(Clock::now() - start_).count(),
                   .train_loss = record.mean_loss(),
                   .val_loss = state_.val_loss,
                   .lr = run_.optimizer->lr(state_.step),
                   .grad_norm = record.grad_norms.back(),
                   .peak_bytes = run_.backend().memory().usage().peak};
  if (with_evaluation) {
    line.excess_loss = evaluation_->excess();
    line.val_accuracy = evaluation_->accuracy;
    line.val_exact_match = evaluation_->exact_match;
  }
  if (timed_steps_ > 0) {
    const double rate = static_cast<double>(timed_steps_ * run_.tokens_per_step()) / training_seconds_;
    step_seconds_ = training_seconds_ / static_cast<double>(timed_steps_);
    line.tokens_per_second = rate;
    if (matmul_peak_ > 0.0) {
      // A peak that was measured beside other programs may be less than what the run itself reaches later.
      const double reached = run_.model->flops_per_token() * rate;
      matmul_peak_ = std::max(matmul_peak_, reached);
      line.mfu = reached / matmul_peak_;
    }
  }
  metrics_->append(line);
  if (events_) events_->append(line.json());
  show(line);
  look_for_others();
  training_seconds_ = 0.0;
  timed_steps_ = 0;
  lap(false);
}

void Trainer::show(const MetricsLine& line) {
  std::string text = fmt::format("step {:>{}}/{}  loss {}", line.step, std::to_string(run_.config.train.steps).size(),
                                 run_.config.train.steps, loss_text(*line.train_loss));
  if (line.val_loss) text += fmt::format("  val {}", loss_text(*line.val_loss));
  if (line.excess_loss) text += fmt::format("  excess {}", loss_text(*line.excess_loss));
  if (line.val_exact_match) {
    text += fmt::format("  exact match {:.2f}%", 100.0 * *line.val_exact_match);
  } else if (line.val_accuracy) {
    text += fmt::format("  accuracy {:.2f}%", 100.0 * *line.val_accuracy);
  }
  if (!line.val_loss)
    text += fmt::format("  lr {:.2e}", *line.lr);  // beside an evaluation, for lack of room, in the file alone
  if (line.tokens_per_second) text += fmt::format("  {}tok/s", count_text(*line.tokens_per_second));
  if (line.mfu && !line.val_loss) text += fmt::format("  MFU {:.0f}%", 100.0 * *line.mfu);
  const std::int64_t left = run_.config.train.steps - line.step;
  if (left > 0 && step_seconds_ > 0.0) {
    text += fmt::format("  {} left", duration_text(static_cast<double>(left) * step_seconds_));
  }
  if (line.val_loss) {
    progress_.note(text);
  } else {
    progress_.update(text);
  }
}

bool Trainer::is_lowest() {
  if (!state_.val_loss) return false;
  const bool lowest = !state_.best_val_loss || *state_.val_loss < *state_.best_val_loss;
  state_.since_best = lowest ? 0 : state_.since_best + 1;
  return lowest;
}

void Trainer::save(bool lowest) {
  const profile::Span span("checkpoint");
  folder_->check();
  if (lowest) {
    state_.best_val_loss = state_.val_loss;
    state_.best_step = state_.step;
  }
  state_.record = training_->record();
  check_finite(state_.record);
  lap(true);
  state_.seconds = seconds_before_ + std::chrono::duration<double>(Clock::now() - start_).count();
  metrics_->flush();
  if (run_.config.train.keep_checkpoints > 0) {
    const optim::EvaluationWeights averaged(*run_.optimizer);
    write_checkpoint(folder_->checkpoints(), state_, *run_.store, run_.optimizer->state());
    prune_checkpoints(folder_->checkpoints(), run_.config.train.keep_checkpoints, state_.best_step);
  }
  lap(false);
}

void Trainer::check_finite(const StepRecord& record) {
  const std::size_t bad = record.first_bad();
  if (bad == record.size()) return;
  const std::int64_t step = state_.step - static_cast<std::int64_t>(record.size() - bad) + 1;
  // The gradients of that step are gone. Its batch is not, and a step that is not finite changes no parameter, so
  // running it again shows what broke.
  training_->clear_record();
  std::uint64_t index = training_->first_batch(step);
  training_->gradients(step, [&] {
    return training_batch(*run_.dataset, run_.model->batch_fields(), index++, run_.config.train.batch);
  });
  const std::string tensor = first_nonfinite_tensor(*run_.store, record.losses[bad]);
  const auto newest = newest_checkpoint(folder_->checkpoints());
  diverge(fmt::format(
      "step {}: the loss is {} and the gradient norm {}; not finite first: {}. Lower optimizer.lr (now {}), raise "
      "optimizer.schedule.warmup, lower optimizer.clip_norm (now {}), or look for broken data. {}",
      step, record.losses[bad], record.grad_norms[bad], tensor, run_.config.optimizer.lr,
      run_.config.optimizer.clip_norm,
      newest ? fmt::format("The last good checkpoint is kept: {}", newest->string())
             : std::string("There was no checkpoint before")));
}

void Trainer::diverge(const std::string& message) {
  folder_->check();
  RunSummary s = summary();
  s.diverged = true;
  s.message = message;
  write_summary(s, folder_->summary());
  throw RunError(message);
}

RunSummary Trainer::summary() const {
  return {.steps = state_.step,
          .vocab = run_.dataset->vocab(),
          .parameters = run_.model->parameter_count(),
          .state_bytes = static_cast<std::int64_t>(run_.optimizer->state_bytes()),
          .passes_per_step = run_.optimizer->passes_per_step(),
          .initial_weights = begins_with_.weights,
          .batches = begins_with_.batches,
          .data = run_.dataset->description(),
          .device = run_.backend().description(),
          .own_cores = has_own_cores(omp_get_max_threads())};
}

void Trainer::finish() {
  folder_->check();
  const optim::EvaluationWeights averaged(*run_.optimizer);
  if (!evaluation_) {  // resumed after the last step
    evaluation_ =
        evaluate(*run_.model, *run_.dataset, run_.device, run_.config.train.batch, run_.config.train.eval_batches);
  }
  progress_.note(ending());
  try {
    sample();
  } catch (const Interrupted&) {
    throw;
  } catch (const std::exception& error) {  // perhaps of a layer of one's own: what was trained is there
    progress_.note(fmt::format("the sample failed: {}; the run is complete without it", error.what()));
  }
  RunSummary s = summary();
  s.val_loss = evaluation_->loss;
  s.best_val_loss = state_.best_val_loss;
  s.best_step = state_.best_step;
  s.optimum = evaluation_->optimum;
  s.val_accuracy = evaluation_->accuracy;
  s.val_exact_match = evaluation_->exact_match;
  write_summary(s, folder_->summary());
}

std::string Trainer::ending() const {
  std::string text = fmt::format("validation loss {} {}", loss_text(evaluation_->loss), run_.model->loss_unit());
  if (evaluation_->optimum) {
    text += fmt::format("; the best possible on these windows is {:.4f}, excess {}", *evaluation_->optimum,
                        loss_text(*evaluation_->excess()));
  }
  if (evaluation_->exact_match) {
    text += fmt::format("; {:.2f}% of the answers are right as a whole", 100.0 * *evaluation_->exact_match);
  } else if (evaluation_->accuracy) {
    text += fmt::format("; {:.2f}% of the answers are right", 100.0 * *evaluation_->accuracy);
  }
  if (const auto entropy = run_.dataset->entropy_rate()) {
    text += fmt::format("; exact entropy of the language {:.4f}", *entropy);
  }
  if (out_of_patience()) {
    text += fmt::format("\nstopped after step {} of {}: no lower validation loss in {} measurements (train.patience)",
                        state_.step, run_.config.train.steps, state_.since_best);
  }
  if (state_.best_val_loss && *state_.best_val_loss < evaluation_->loss && run_.config.train.keep_checkpoints > 0) {
    text += fmt::format("\nit was lower before: {} after step {}, kept as {}; sample and eval take it with --best",
                        loss_text(*state_.best_val_loss), state_.best_step, (folder_->checkpoints() / "best").string());
  }
  return text;
}

void Trainer::sample() {
  if (run_.config.train.sample_tokens == 0 || !run_.model->predicts_tokens()) return;
  const RunSample sample = run_sample(*run_.dataset, *run_.model, run_.device, run_.config.train.sample_prompt);
  std::vector<std::int32_t> tokens;
  generate(*run_.model, *run_.store, sample.prompt, run_.config.train.sample_tokens,
           {.seed = static_cast<std::uint64_t>(run_.config.train.seed)}, [&tokens](std::int32_t token) {
             stop_here_if_interrupted();
             tokens.push_back(token);
           });
  const std::string text = sample.shown + text_after(run_.dataset->tokenizer(), sample.prompt.tokens.back(), tokens);
  write_text_file(folder_->sample(), text + "\n");
  if (events_) events_->append_text("sample", state_.step, as_code(text));
  progress_.verbatim(fmt::format("sample ({}):\n{}", folder_->sample().string(), text));
}

}  // namespace monge::train
