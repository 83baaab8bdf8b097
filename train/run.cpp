#include "train/run.h"

#include <fmt/ranges.h>
#include <omp.h>

#include <algorithm>
#include <optional>

#include "core/error.h"
#include "train/checkpoint/starting_weights.h"
#include "train/console/progress.h"
#include "train/console/summary.h"

namespace monge::train {
namespace {

void refuse_what_does_not_fit(const MemoryPlan& plan, Backend& backend) {
  const std::size_t limit = backend.memory().limit();
  if (limit == 0 || plan.total() <= limit) return;
  const std::string name = backend.device().str();
  throw OutOfMemory(
      fmt::format("out of memory on {}, which has {}: the run needs more; {}; lower train.batch (and raise "
                  "train.accumulate), model.context, model.width or model.layers, or set train.recompute",
                  name, bytes_text(static_cast<double>(limit)), memory_text(plan)));
}

}  // namespace

std::unique_ptr<nn::Model> make_model(const Config& config, std::int64_t vocab) {
  std::unique_ptr<nn::Model> model = nn::models().make(config.model, vocab);
  model->set_recompute(config.train.recompute);
  model->set_head_chunk(config.train.head_chunk);
  return model;
}

std::unique_ptr<Dataset> make_dataset(const Config& config, const Tokenizer* tokenizer, bool grows) {
  const std::unique_ptr<nn::Model> model = nn::models().make(config.model, 1);  // to be asked only
  auto dataset = datasets().make(config.data, {.context = model->context(),
                                               .fields = model->batch_fields(),
                                               .seed = static_cast<std::uint64_t>(config.train.seed),
                                               .tokenizer = tokenizer,
                                               .grows = grows});
  const std::vector<std::string> given = dataset->fields();
  for (const nn::BatchField& field : model->batch_fields()) {
    if (std::ranges::count(given, field.name) > 0) continue;
    throw InputError(
        fmt::format("model.kind {} reads '{}', and data.kind {} has {} only; choose other data or another model",
                    config.model.kind, field.name, config.data.kind, fmt::join(given, ", ")));
  }
  return dataset;
}

Run::Run(Config given, const Tokenizer* tokenizer) : config(std::move(given)), device(parse_device(config.device)) {
  backend().configure(gpu_settings_of(config));
  const Turn turn(*this);
  std::optional<StartingWeights> start;
  if (tokenizer == nullptr && !config.train.from.empty()) start.emplace(config.train.from);
  dataset = make_dataset(config, start ? &start->tokenizer() : tokenizer, start.has_value());
  plan = plan_memory(config, dataset->vocab());
  refuse_what_does_not_fit(plan, backend());
  model = make_model(config, dataset->vocab());
  store = std::make_unique<nn::ParameterStore>(*model, device, precision_of(config), seed());
  if (start) start->load(*store, dataset->tokenizer());
  optimizer = std::make_unique<optim::Optimizer>(config.optimizer, *model, *store, config.train.steps);
}

Run::Run(Config given, std::int64_t vocab) : config(std::move(given)), device(parse_device(config.device)) {
  backend().configure(gpu_settings_of(config));
  const Turn turn(*this);
  model = make_model(config, vocab);
  store = std::make_unique<nn::ParameterStore>(*model, device, precision_of(config), seed(), /*trainable=*/false);
}

std::unique_ptr<TrainingStep> Run::training_step(std::int64_t record) const {
  return std::make_unique<TrainingStep>(TrainingStep::Options{.batch = config.train.batch,
                                                              .accumulate = config.train.accumulate,
                                                              .seed = seed(),
                                                              .record = record,
                                                              .replay = config.cuda.graph},
                                        *model, *store, *optimizer);
}

Run::Turn::Turn(const Run& run) : threads_before_(omp_get_max_threads()) {
  if (run.config.train.threads > 0) omp_set_num_threads(static_cast<int>(run.config.train.threads));
  const GpuSettings settings = gpu_settings_of(run.config);
  if (settings != run.backend().settings()) run.backend().configure(settings);
}

Run::Turn::~Turn() { omp_set_num_threads(threads_before_); }

}  // namespace monge::train
