#include "train/trainer.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "core/error.h"
#include "core/options/yaml.h"
#include "train/config_changes.h"
#include "train/machine.h"
#include "train/sampler.h"
#include "train/summary.h"

namespace fs = std::filesystem;

namespace monge::train {

Trainer::Trainer(Config config, const fs::path& out, bool resume, Progress& progress)
    : config_(std::move(config)), progress_(progress), folder_(out, resume), device_(parse_device(config_.device)) {
  use_threads(config_.train.threads);
  const std::optional<Checkpoint> checkpoint = open_checkpoint(resume);
  const auto seed = static_cast<std::uint64_t>(config_.train.seed);
  dataset_ = datasets().make(config_.data, {.context = config_.model.context, .seed = seed});
  if (checkpoint) check_data(*checkpoint);
  backend_of(device_).configure(gpu_settings_of(config_));
  model_ = std::make_unique<nn::Gpt>(config_.model, dataset_->vocab());
  model_->set_recompute(config_.train.recompute);
  model_->set_head_chunk(config_.train.head_chunk);
  store_ = std::make_unique<nn::ParameterStore>(*model_, device_, precision_of(config_), seed);
  optimizer_ = std::make_unique<optim::Optimizer>(config_.optimizer, *model_, *store_, config_.train.steps);
  print_banner();
  training_ = std::make_unique<TrainingStep>(
      TrainingStep::Options{.batch = config_.train.batch,
                            .accumulate = config_.train.accumulate,
                            .seed = seed,
                            .record = std::min(config_.train.log_every, config_.train.steps) +
                                      static_cast<std::int64_t>(checkpoint ? checkpoint->state().record.size() : 0),
                            .replay = config_.cuda.graph},
      *model_, *store_, *optimizer_);
  if (checkpoint) {
    const optim::EvaluationWeights averaged(*optimizer_);
    checkpoint->restore(*store_);
    checkpoint->restore(*optimizer_);
    state_ = checkpoint->state();
    training_->restore_record(state_.record);
    seconds_before_ = state_.seconds;
  }
  state_.vocab = dataset_->vocab();
  state_.tokenizer = dataset_->tokenizer().save();
  state_.config = write_yaml(config_);
  start_files();
}

std::optional<Checkpoint> Trainer::open_checkpoint(bool resume) {
  if (!resume) return std::nullopt;
  const auto newest = newest_checkpoint(folder_.checkpoints());
  if (!newest) {
    progress_.note(fmt::format("{} holds no checkpoint yet: starting from scratch", folder_.path().string()));
    return std::nullopt;
  }
  Checkpoint checkpoint(*newest);
  checkpoint.verify();
  for (const ConfigChange& change : allowed_changes(checkpoint.state().config, write_yaml(config_))) {
    progress_.note(fmt::format("changed since the checkpoint: {}", change.str()));
  }
  progress_.note(fmt::format("continuing after step {} from {}", checkpoint.state().step, newest->string()));
  return checkpoint;
}

void Trainer::check_data(const Checkpoint& checkpoint) const {
  if (dataset_->tokenizer().save() == checkpoint.state().tokenizer) return;
  throw InputError(
      fmt::format("--resume: the data has another vocabulary ({} tokens) than the checkpoint ({} tokens) or "
                  "orders it differently; restore data.path and data.tokenizer, or start a new run",
                  dataset_->vocab(), checkpoint.state().vocab));
}

void Trainer::start_files() {
  fs::create_directories(folder_.checkpoints());
  fs::remove(folder_.summary());
  write_text_file(folder_.config(), state_.config);
  metrics_ = std::make_unique<MetricsFile>(folder_.metrics(), state_.step);
  folder_.keep();
}

void Trainer::print_banner() {
  progress_.note(fmt::format("device   {}", store_->values().backend().description()));
  progress_.note(fmt::format("data     {}", dataset_->description()));
  progress_.note(fmt::format("model    {}", parameters_text(*model_)));
  plan_ = plan_memory(*model_, *store_, *optimizer_, config_.train.batch);
  progress_.note(fmt::format("         {}", memory_text(plan_)));
  progress_.note(groups_text(*optimizer_));
  for (const std::string& note : optimizer_->notes()) progress_.note(note);
  for (const std::string& note : store_->values().backend().notes()) progress_.note(note);
  progress_.note(fmt::format("run      {} steps of {} tokens, into {}", config_.train.steps,
                             thousands(config_.train.batch * config_.train.accumulate * config_.model.context),
                             folder_.path().string()));
}

/// MFU is measured against what this machine reaches, in the precision of the run. Once per process: the peak is the
/// machine's, not the run's.
void Trainer::measure_peak() {
  if (device_.kind == DeviceKind::reference) return;
  Backend& backend = store_->values().backend();
  const DType dtype = store_->copies().defined() ? DType::bf16 : DType::f32;
  static std::map<std::pair<std::string, DType>, double> peaks;
  double& peak = peaks[{device_.str(), dtype}];
  if (peak == 0.0) {
    peak = matmul_peak(backend, dtype);
    backend.memory().trim();
    backend.memory().reset_peak();
  }
  matmul_peak_ = peak;
  progress_.note(fmt::format("matmul   {}FLOP/s measured, the reference for MFU", count_text(matmul_peak_)));
}

Outcome Trainer::run(const std::function<bool()>& stop, StepProfile* steps) {
  const TrainOptions& t = config_.train;
  if (state_.step < t.steps) {
    measure_peak();
    // A GPU's memory is taken before the first step, so that a run which does not fit fails here.
    if (device_.kind == DeviceKind::cuda) backend_of(device_).memory().reserve(plan_.activations, Pool::activations);
  }
  BatchQueue queue(*dataset_, training_->first_batch(state_.step + 1), t.batch, config_.model.context);
  start_ = lap_ = Clock::now();
  bool stopping = false;
  while (state_.step < t.steps && !stopping) {
    if (steps != nullptr) steps->begin_step();
    std::optional<profile::Span> span("step");
    training_->run(++state_.step, [&queue] { return queue.next(); });
    ++timed_steps_;
    state_.tokens += t.batch * t.accumulate * config_.model.context;
    state_.val_loss.reset();
    const bool last = state_.step == t.steps;
    const bool evaluating = last || due(t.eval_every);
    if (evaluating || due(t.log_every)) write_line(evaluating);
    stopping = !last && stop();
    if (last || stopping || due(t.checkpoint_every)) save();
    span.reset();
    if (steps != nullptr) steps->end_step();
  }
  if (steps != nullptr) progress_.note(steps->finish());
  if (stopping) {
    progress_.note(
        fmt::format("stopped after step {}; continue with --out {} --resume", state_.step, folder_.path().string()));
    return Outcome::interrupted;
  }
  finish();
  return Outcome::done;
}

void Trainer::lap(bool training) {
  const Clock::time_point now = Clock::now();
  if (training) training_seconds_ += std::chrono::duration<double>(now - lap_).count();
  lap_ = now;
}

void Trainer::write_line(bool with_evaluation) {
  const profile::Span log("log");
  const StepRecord record = training_->record();
  check_finite(record);
  training_->clear_record();
  lap(true);
  if (with_evaluation) {
    const profile::Span span("evaluate");
    const optim::EvaluationWeights averaged(*optimizer_);
    evaluation_ = evaluate(*model_, *dataset_, device_, config_.train.batch, config_.train.eval_batches);
    if (!std::isfinite(evaluation_->loss)) {
      diverge(fmt::format("step {}: the validation loss is {}; lower optimizer.lr or raise the warmup", state_.step,
                          evaluation_->loss));
    }
    state_.val_loss = evaluation_->loss;
  }
  const double tokens =
      static_cast<double>(timed_steps_ * config_.train.batch * config_.train.accumulate * config_.model.context);
  const double rate = tokens / training_seconds_;
  step_seconds_ = training_seconds_ / static_cast<double>(timed_steps_);
  MetricsLine line{.step = state_.step,
                   .tokens = state_.tokens,
                   .seconds = seconds_before_ + std::chrono::duration<double>(Clock::now() - start_).count(),
                   .train_loss = record.mean_loss(),
                   .val_loss = state_.val_loss,
                   .lr = optimizer_->lr(state_.step),
                   .grad_norm = record.grad_norms.back(),
                   .tokens_per_second = rate,
                   .peak_bytes = store_->values().backend().memory().usage().peak};
  if (with_evaluation) {
    line.excess_loss = evaluation_->excess();
    line.val_accuracy = evaluation_->accuracy;
  }
  if (matmul_peak_ > 0.0) line.mfu = model_->flops_per_token(config_.model.context) * rate / matmul_peak_;
  metrics_->append(line);
  show(line);
  training_seconds_ = 0.0;
  timed_steps_ = 0;
  lap(false);
}

void Trainer::show(const MetricsLine& line) {
  std::string text = fmt::format("step {:>{}}/{}  loss {:.4f}", line.step, std::to_string(config_.train.steps).size(),
                                 config_.train.steps, *line.train_loss);
  if (line.val_loss) text += fmt::format("  val {:.4f}", *line.val_loss);
  if (line.excess_loss) text += fmt::format("  excess {:.4f}", *line.excess_loss);
  if (line.val_accuracy) text += fmt::format("  accuracy {:.2f}%", 100.0 * *line.val_accuracy);
  text += fmt::format("  lr {:.2e}  {}tok/s", *line.lr, count_text(*line.tokens_per_second));
  if (line.mfu) text += fmt::format("  MFU {:.0f}%", 100.0 * *line.mfu);
  const std::int64_t left = config_.train.steps - line.step;
  if (left > 0) text += fmt::format("  {} left", duration_text(static_cast<double>(left) * step_seconds_));
  if (line.val_loss) {
    progress_.note(text);
  } else {
    progress_.update(text);
  }
}

void Trainer::save() {
  const profile::Span span("checkpoint");
  state_.record = training_->record();
  check_finite(state_.record);
  lap(true);
  if (state_.val_loss && (!state_.best_val_loss || *state_.val_loss < *state_.best_val_loss)) {
    state_.best_val_loss = state_.val_loss;
    state_.best_step = state_.step;
  }
  state_.seconds = seconds_before_ + std::chrono::duration<double>(Clock::now() - start_).count();
  metrics_->flush();
  {
    const optim::EvaluationWeights averaged(*optimizer_);
    write_checkpoint(folder_.checkpoints(), state_, *store_, *optimizer_);
  }
  prune_checkpoints(folder_.checkpoints(), config_.train.keep_checkpoints, state_.best_step);
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
  training_->gradients(step,
                       [&] { return training_batch(*dataset_, index++, config_.train.batch, config_.model.context); });
  const std::string tensor = first_nonfinite_tensor(*store_, record.losses[bad]);
  const auto newest = newest_checkpoint(folder_.checkpoints());
  diverge(fmt::format(
      "step {}: the loss is {} and the gradient norm {}; not finite first: {}. Lower optimizer.lr (now {}), raise "
      "optimizer.schedule.warmup, lower optimizer.clip_norm (now {}), or look for broken data. {}",
      step, record.losses[bad], record.grad_norms[bad], tensor, config_.optimizer.lr, config_.optimizer.clip_norm,
      newest ? fmt::format("The last good checkpoint is kept: {}", newest->string())
             : std::string("There was no checkpoint before")));
}

void Trainer::diverge(const std::string& message) {
  RunSummary s = summary();
  s.diverged = true;
  s.message = message;
  write_summary(s, folder_.summary());
  throw RunError(message);
}

RunSummary Trainer::summary() const {
  return {.steps = state_.step,
          .vocab = dataset_->vocab(),
          .parameters = model_->parameter_count(),
          .state_bytes = static_cast<std::int64_t>(optimizer_->state_bytes()),
          .passes_per_step = optimizer_->passes_per_step(),
          .data = dataset_->description(),
          .device = store_->values().backend().description()};
}

void Trainer::finish() {
  const optim::EvaluationWeights averaged(*optimizer_);
  if (!evaluation_) {  // resumed after the last step
    evaluation_ = evaluate(*model_, *dataset_, device_, config_.train.batch, config_.train.eval_batches);
  }
  std::string text = fmt::format("validation loss {:.4f} nats per token", evaluation_->loss);
  if (evaluation_->optimum) {
    text += fmt::format("; the best possible on these windows is {:.4f}, excess {:.4f}", *evaluation_->optimum,
                        *evaluation_->excess());
  }
  if (evaluation_->accuracy) text += fmt::format("; {:.2f}% of the answers are right", 100.0 * *evaluation_->accuracy);
  if (const auto entropy = dataset_->entropy_rate()) {
    text += fmt::format("; exact entropy of the language {:.4f}", *entropy);
  }
  progress_.note(text);
  sample();
  RunSummary s = summary();
  s.val_loss = evaluation_->loss;
  s.optimum = evaluation_->optimum;
  s.val_accuracy = evaluation_->accuracy;
  write_summary(s, folder_.summary());
}

void Trainer::sample() {
  if (config_.train.sample_tokens == 0) return;
  const std::vector<std::int32_t> prompt = prompt_tokens(dataset_->tokenizer(), config_.train.sample_prompt);
  std::vector<std::int32_t> tokens = prompt;
  const auto more = generate(*model_, *store_, prompt, config_.train.sample_tokens,
                             {.seed = static_cast<std::uint64_t>(config_.train.seed)});
  tokens.insert(tokens.end(), more.begin(), more.end());
  const std::string text = dataset_->tokenizer().decode(tokens);
  write_text_file(folder_.sample(), text + "\n");
  progress_.note(fmt::format("sample ({}):\n{}", folder_.sample().string(), text));
}

}  // namespace monge::train
