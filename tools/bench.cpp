// monge bench [CONFIG [key.path=value ...]] [--steps N] [--json]: what the machine can do, and how close a training
// step comes to it. monge bench --attention [--json]: attention alone, for every kind and a range of lengths.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>
#include <numeric>

#include "tools/attention_bench.h"
#include "tools/commands.h"
#include "tools/op_bench.h"
#include "train/config.h"
#include "train/machine.h"
#include "train/progress.h"
#include "train/training_step.h"

namespace monge::tools {
namespace {

using Json = nlohmann::ordered_json;

struct Arguments {
  std::string config;
  std::vector<std::string> overrides;
  std::int64_t steps = 20;
  bool json = false;
  bool attention = false;
};

struct Machine {
  double peak_f32 = 0.0, peak_bf16 = 0.0;  // FLOP/s
  double bandwidth = 0.0;                  // bytes/s
};

struct StepTiming {
  double seconds = 0.0;  // median
  double mean = 0.0;     // seconds; work that is done every few steps shows here
  double tokens_per_second = 0.0;
  double mfu = 0.0;
  std::size_t peak_bytes = 0;
};

Machine measure_machine(Backend& backend) {
  Machine machine{.peak_f32 = train::matmul_peak(backend, DType::f32, 0.25),
                  .peak_bf16 = train::matmul_peak(backend, DType::bf16, 0.25),
                  .bandwidth = train::copy_bandwidth(backend)};
  backend.memory().trim();
  return machine;
}

/// The first two steps allocate and prepare kernels, and do not count.
StepTiming time_steps(train::TrainingStep& training, const train::Dataset& dataset, nn::Gpt& model, Backend& backend,
                      const train::Config& config, std::int64_t steps, double peak) {
  constexpr std::int64_t warmup = 2;
  train::BatchQueue queue(dataset, 0, config.train.batch, config.model.context);
  std::vector<double> seconds;
  for (std::int64_t step = 1; step <= warmup + steps; ++step) {
    const auto begin = std::chrono::steady_clock::now();
    training.run(step, [&queue] { return queue.next(); });
    backend.synchronize();
    training.clear_record();
    if (step > warmup) {
      seconds.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
    }
  }
  const double total = std::accumulate(seconds.begin(), seconds.end(), 0.0);
  std::ranges::nth_element(seconds, seconds.begin() + static_cast<std::ptrdiff_t>(seconds.size() / 2));
  StepTiming timing{.seconds = seconds[seconds.size() / 2],
                    .mean = total / static_cast<double>(seconds.size()),
                    .peak_bytes = backend.memory().usage().peak};
  const std::int64_t tokens = config.train.batch * config.train.accumulate * config.model.context;
  timing.tokens_per_second = static_cast<double>(tokens) / timing.seconds;
  timing.mfu = model.flops_per_token(config.model.context) * timing.tokens_per_second / peak;
  return timing;
}

/// Achieved rate over the machine's: arithmetic where an op is bounded by it, else memory.
double share(const OpTiming& op, double peak, double bandwidth) {
  return op.flops > 0.0 ? op.flops / op.seconds / peak : op.bytes / op.seconds / bandwidth;
}

void print_text(const Machine& machine, const std::vector<OpTiming>& ops, const StepTiming* step, double peak) {
  fmt::print("matmul peak  f32 {}FLOP/s, bf16 {}FLOP/s\nmemory copy  {}B/s\n", train::count_text(machine.peak_f32),
             train::count_text(machine.peak_bf16), train::count_text(machine.bandwidth));
  if (step == nullptr) return;
  fmt::print("\n{:<36} {:<26} {:>5} {:>10} {:>14} {:>8}\n", "op", "shape", "calls", "ms", "rate", "of peak");
  for (const OpTiming& op : ops) {
    const double rate = (op.flops > 0.0 ? op.flops : op.bytes) / op.seconds;
    fmt::print("{:<36} {:<26} {:>5} {:>10.3f} {:>14} {:>7.0f}%\n", op.name, op.shape, op.calls, 1e3 * op.seconds,
               train::count_text(rate) + (op.flops > 0.0 ? "FLOP/s" : "B/s"),
               100.0 * share(op, peak, machine.bandwidth));
  }
  fmt::print("\nwhole step   {:.2f} ms (mean {:.2f}), {}tok/s, MFU {:.1f}% of the matmul peak, peak memory {}\n",
             1e3 * step->seconds, 1e3 * step->mean, train::count_text(step->tokens_per_second), 100.0 * step->mfu,
             train::bytes_text(static_cast<double>(step->peak_bytes)));
}

void print_json(const Machine& machine, const std::vector<OpTiming>& ops, const StepTiming* step, double peak) {
  Json out{{"matmul_peak_f32", machine.peak_f32},
           {"matmul_peak_bf16", machine.peak_bf16},
           {"memory_bandwidth", machine.bandwidth}};
  if (step != nullptr) {
    out["ops"] = Json::array();
    for (const OpTiming& op : ops) {
      Json entry{{"name", op.name}, {"shape", op.shape}, {"calls", op.calls}, {"milliseconds", 1e3 * op.seconds}};
      if (op.flops > 0.0) entry["flops_per_second"] = op.flops / op.seconds;
      if (op.bytes > 0.0) entry["bytes_per_second"] = op.bytes / op.seconds;
      entry["share_of_peak"] = share(op, peak, machine.bandwidth);
      out["ops"].push_back(std::move(entry));
    }
    out["step"] = {{"milliseconds", 1e3 * step->seconds},
                   {"mean_milliseconds", 1e3 * step->mean},
                   {"tokens_per_second", step->tokens_per_second},
                   {"mfu", step->mfu}};
    out["peak_bytes"] = step->peak_bytes;
  }
  fmt::print("{}\n", out.dump(2));
}

void run_attention(const Arguments& arguments) {
  const std::vector<AttentionTiming> timings = bench_attention(parse_device("cpu"), DType::f32);
  if (arguments.json) {
    Json out = Json::array();
    for (const AttentionTiming& t : timings) {
      Json entry{{"kind", t.kind},
                 {"tokens", t.tokens},
                 {"forward_milliseconds", 1e3 * t.forward},
                 {"backward_milliseconds", 1e3 * t.backward}};
      if (t.row_backward > 0.0) entry["row_backward_milliseconds"] = 1e3 * t.row_backward;
      entry["scratch_bytes"] = t.scratch;
      out.push_back(std::move(entry));
    }
    fmt::print("{}\n", out.dump(2));
    return;
  }
  const AttentionShape shape;
  fmt::print("{} tokens, {} heads of {}, causal, f32; ms\n\n{:<10} {:>6} {:>10} {:>10} {:>14} {:>8} {:>12}\n",
             shape.rows, shape.heads, shape.head_dim, "kind", "T", "forward", "backward", "row backward", "ratio",
             "work space");
  for (const AttentionTiming& t : timings) {
    const bool solves = t.row_backward > 0.0;
    fmt::print("{:<10} {:>6} {:>10.2f} {:>10.2f} {:>14} {:>8} {:>12}\n", t.kind, t.tokens, 1e3 * t.forward,
               1e3 * t.backward, solves ? fmt::format("{:.2f}", 1e3 * t.row_backward) : "-",
               solves ? fmt::format("{:.2f}", t.row_backward / t.backward) : "-",
               train::bytes_text(static_cast<double>(t.scratch)));
  }
}

void run(const Arguments& arguments) {
  if (arguments.attention) return run_attention(arguments);
  const auto print = arguments.json ? print_json : print_text;
  if (arguments.config.empty()) {
    print(measure_machine(backend_of(parse_device("cpu"))), {}, nullptr, 0.0);
    return;
  }
  const train::Config config = train::load_config(arguments.config, arguments.overrides);
  train::use_threads(config.train.threads);
  const Device device = parse_device(config.device);
  if (device.kind == DeviceKind::reference) {
    throw InputError("device: the reference device is there to be right, not fast; bench cpu or cuda");
  }
  Backend& backend = backend_of(device);
  const auto seed = static_cast<std::uint64_t>(config.train.seed);
  const auto dataset = train::datasets().make(config.data, {.context = config.model.context, .seed = seed});
  const Machine machine = measure_machine(backend);

  nn::Gpt model(config.model, dataset->vocab());
  model.set_recompute(config.train.recompute);
  nn::ParameterStore store(model, device, train::precision_of(config), seed);
  optim::Optimizer optimizer(config.optimizer, model, store, std::max(config.train.steps, arguments.steps + 2));
  const double peak = store.copies().defined() ? machine.peak_bf16 : machine.peak_f32;
  const std::vector<OpTiming> ops = bench_ops(model, store, config.train.batch);
  backend.memory().trim();
  backend.memory().reset_peak();
  train::TrainingStep training({.batch = config.train.batch, .accumulate = config.train.accumulate, .seed = seed},
                               model, store, optimizer);
  const StepTiming step = time_steps(training, *dataset, model, backend, config, arguments.steps, peak);
  print(machine, ops, &step, peak);
}

}  // namespace

void add_bench(CLI::App& program) {
  auto a = std::make_shared<Arguments>();
  CLI::App* command =
      program.add_subcommand("bench", "Measure the machine, and with a config each op and the whole step against it");
  command->add_option("config", a->config, "YAML file");
  command->add_option("overrides", a->overrides, "key.path=value: settings that replace those of the file");
  command->add_option("--steps", a->steps, "Training steps to time; the median counts")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  command->add_flag("--attention", a->attention, "Attention alone: every kind, 64 to 4096 tokens");
  command->add_flag("--json", a->json, "One JSON object instead of tables");
  command->callback([a] { run(*a); });
}

}  // namespace monge::tools
