// monge bench [CONFIG [key.path=value ...]] [--steps N] [--no-ops] [--json]: what the machine can do, and how close a
// training step comes to it. monge bench --attention [--device D] [--json]: attention alone.
#include <algorithm>
#include <cctype>
#include <chrono>
#include <nlohmann/json.hpp>
#include <numeric>

#include "core/json.h"
#include "core/machine.h"
#include "tools/bench/attention_bench.h"
#include "tools/bench/op_bench.h"
#include "tools/commands.h"
#include "train/console/progress.h"
#include "train/run.h"

namespace monge::tools {
namespace {

struct Arguments {
  std::string config;
  std::vector<std::string> overrides;
  std::string device = "cpu";
  std::int64_t steps = 20;
  bool ops = true;
  bool json = false;
  bool attention = false;
};

struct Machine {
  std::string description;
  double peak_f32 = 0.0, peak_bf16 = 0.0;  // FLOP/s
  double bandwidth = 0.0;                  // bytes/s
};

struct StepTiming {
  double seconds = 0.0;  // median
  double mean = 0.0;     // seconds; work that is done every few steps shows here
  double flops_per_token = 0.0;
  std::string flops_formula;
  double tokens_per_second = 0.0;
  std::size_t peak_bytes = 0;      // of tensors
  std::size_t peak_resident = 0;   // of the process, in RAM
  std::vector<std::string> notes;  // of the backend

  /// Of a machine that makes `peak` FLOP per second.
  double mfu(double peak) const { return flops_per_token * tokens_per_second / peak; }
};

Device timed_device(const std::string& name) {
  const Device device = parse_device(name);
  if (device.kind == DeviceKind::reference) {
    throw InputError("device: the reference device is there to be right, not fast; bench cpu or cuda");
  }
  return device;
}

Machine measure_machine(Backend& backend) {
  Machine machine{.description = backend.description(),
                  .peak_f32 = measure_matmul_peak(backend, DType::f32, 0.25),
                  .peak_bf16 = measure_matmul_peak(backend, DType::bf16, 0.25),
                  .bandwidth = copy_bandwidth(backend)};
  backend.memory().trim();
  return machine;
}

/// Steps that do not count: they allocate, prepare kernels and, on a GPU, make the recording that later steps replay.
/// Ten there, so that an update with work for every tenth step has as much of it among those that count as in a run.
std::int64_t warmup_steps(Device device) { return device.kind == DeviceKind::cuda ? 10 : 2; }

StepTiming time_steps(const train::Run& run, std::int64_t steps) {
  Backend& backend = run.backend();
  const auto training = run.training_step(/*record=*/1);
  const std::int64_t warmup = warmup_steps(run.device);
  train::BatchQueue queue(*run.dataset, run.model->batch_fields(), 0, run.config.train.batch);
  std::vector<double> seconds;
  for (std::int64_t step = 1; step <= warmup + steps; ++step) {
    const auto begin = std::chrono::steady_clock::now();
    training->run(step, [&queue] { return queue.next(); });
    backend.synchronize();
    training->clear_record();
    if (step > warmup) {
      seconds.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
    }
  }
  const double total = std::accumulate(seconds.begin(), seconds.end(), 0.0);
  std::ranges::nth_element(seconds, seconds.begin() + static_cast<std::ptrdiff_t>(seconds.size() / 2));
  StepTiming timing{.seconds = seconds[seconds.size() / 2],
                    .mean = total / static_cast<double>(seconds.size()),
                    .flops_per_token = run.model->flops_per_token(),
                    .flops_formula = run.model->flops_formula(),
                    .peak_bytes = backend.memory().usage().peak,
                    .peak_resident = peak_resident(),
                    .notes = backend.notes()};
  timing.tokens_per_second = static_cast<double>(run.tokens_per_step()) / timing.seconds;
  return timing;
}

/// Achieved rate over the machine's: arithmetic where an op is bounded by it, else memory.
double share(const OpTiming& op, double peak, double bandwidth) {
  return op.flops > 0.0 ? op.flops / op.seconds / peak : op.bytes / op.seconds / bandwidth;
}

/// "blocks.0.mlp.up forward" as "mlp.up forward": how many layers are alike stands in another column.
std::string without_layer(const std::string& name) {
  const std::size_t layer = name.find(".0.");
  return layer == std::string::npos ? name : name.substr(layer + 3);
}

/// "12288 x 128" as "12288x128", "B 12 T 64" as "B12 T64".
std::string compact(const std::string& shape) {
  std::string text;
  for (std::size_t i = 0; i < shape.size(); ++i) {
    const bool after_letter = i > 0 && std::isupper(static_cast<unsigned char>(shape[i - 1])) != 0;
    const bool beside_times = shape.substr(i, 3) == " x " || (i >= 2 && shape.substr(i - 2, 3) == " x ");
    if (shape[i] != ' ' || !(after_letter || beside_times)) text += shape[i];
  }
  return text;
}

/// The ops of a micro-batch and an update: how often, how long, which share of all of them, and how close to a peak.
void print_ops(const std::vector<OpTiming>& ops, const Machine& machine, double peak) {
  double all = 0.0;
  for (const OpTiming& op : ops) all += static_cast<double>(op.calls) * op.seconds;
  fmt::print("\n{:<29} {:<17} {:>5} {:>7} {:>7} {:>5} {:>4}\n", "op", "shape", "calls", "ms each", "ms", "share",
             "peak");
  bool cached = false, faster = false;  // than the machine's memory, than its products
  for (const OpTiming& op : ops) {
    const double seconds = static_cast<double>(op.calls) * op.seconds, of_peak = share(op, peak, machine.bandwidth);
    fmt::print("{:<29} {:<17} {:>5} {:>7.3f} {:>7.2f} {:>4.0f}% {:>3.0f}%\n", without_layer(op.name), compact(op.shape),
               op.calls, 1e3 * op.seconds, 1e3 * seconds, 100.0 * seconds / all, 100.0 * of_peak);
    if (of_peak > 1.05) (op.flops > 0.0 ? faster : cached) = true;
  }
  fmt::print("{:<29} {:<17} {:>5} {:>7} {:>7.2f} {:>4}%\n", "sum of one micro-batch", "", "", "", 1e3 * all, 100);
  const auto line = [](const std::string& text) { fmt::print("{}\n", train::wrapped(text, /*indent=*/5)); };
  line("peak: of the matmul peak for products and attention, of the memory copy for the others");
  if (cached) line("     above 100% of the memory copy: tensors that stay in the processor's caches");
  if (faster) line("     above 100% of the matmul peak: other programs, or a slower clock, while that was measured");
}

void print_text(const Machine& machine, const std::vector<OpTiming>& ops, const StepTiming* step, double peak) {
  constexpr std::size_t column = 13;  // of what is said
  const auto line = [](const std::string& text) { fmt::print("{}\n", train::wrapped(text, column)); };
  line(fmt::format("device       {}", machine.description));
  line(fmt::format("matmul peak  f32 {}FLOP/s, bf16 {}FLOP/s\nmemory copy  {}B/s", train::count_text(machine.peak_f32),
                   train::count_text(machine.peak_bf16), train::count_text(machine.bandwidth)));
  if (step == nullptr) return;
  if (!ops.empty()) print_ops(ops, machine, peak);
  const std::optional<double> promised = data_sheet_peak(machine.description);
  line(
      fmt::format("\nwhole step   {:.2f} ms (mean {:.2f}), {}tok/s, MFU ({}) {:.1f}% of the matmul peak{}, peak "
                  "memory {} in tensors, {} in all",
                  1e3 * step->seconds, 1e3 * step->mean, train::count_text(step->tokens_per_second),
                  step->flops_formula, 100.0 * step->mfu(peak),
                  promised ? fmt::format(" and {:.1f}% of the data sheet's bf16 {}FLOP/s", 100.0 * step->mfu(*promised),
                                         train::count_text(*promised))
                           : "",
                  train::bytes_text(static_cast<double>(step->peak_bytes)),
                  train::bytes_text(static_cast<double>(step->peak_resident))));
  for (const std::string& note : step->notes) line(fmt::format("note         {}", note));
}

void print_json(const Machine& machine, const std::vector<OpTiming>& ops, const StepTiming* step, double peak) {
  Json out{{"device", machine.description},
           {"matmul_peak_f32", machine.peak_f32},
           {"matmul_peak_bf16", machine.peak_bf16},
           {"memory_bandwidth", machine.bandwidth}};
  const std::optional<double> promised = data_sheet_peak(machine.description);
  if (promised) out["data_sheet_peak_bf16"] = *promised;
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
                   {"flops_per_token", step->flops_per_token},
                   {"mfu", step->mfu(peak)}};
    if (promised) out["step"]["mfu_of_data_sheet"] = step->mfu(*promised);
    out["peak_bytes"] = step->peak_bytes;
    out["peak_resident_bytes"] = step->peak_resident;
    out["notes"] = step->notes;
  }
  fmt::print("{}\n", json_text(out, 2));
}

void run_attention(const Arguments& arguments) {
  const Device device = timed_device(arguments.device);
  std::vector<AttentionTiming> timings;
  for (const AttentionCase& of : attention_cases(device)) timings.push_back(time_attention(device, of));
  if (arguments.json) {
    fmt::print("{}\n", json_text(attention_json(timings), 2));
  } else {
    print_attention_text(device, timings);
  }
}

void run(const Arguments& arguments) {
  if (arguments.attention) return run_attention(arguments);
  const auto print = arguments.json ? print_json : print_text;
  if (arguments.config.empty()) {
    print(measure_machine(backend_of(timed_device(arguments.device))), {}, nullptr, 0.0);
    return;
  }
  train::Config config = train::load_config(arguments.config, arguments.overrides);
  const Device device = timed_device(config.device);
  config.train.steps = std::max(config.train.steps, warmup_steps(device) + arguments.steps);
  const train::Run run(std::move(config));
  const train::Run::Turn turn(run);
  const Machine machine = measure_machine(run.backend());
  const double peak = run.store->copies().defined() ? std::max(machine.peak_bf16, machine.peak_f32) : machine.peak_f32;
  const std::vector<OpTiming> ops =
      arguments.ops ? bench_ops(*run.model, *run.store, run.config.train.batch) : std::vector<OpTiming>{};
  run.backend().memory().trim();
  run.backend().memory().reset_peak();
  restart_peak_resident();
  const StepTiming step = time_steps(run, arguments.steps);
  print(machine, ops, &step, peak);
}

}  // namespace

void add_bench(Command& program) {
  auto a = std::make_shared<Arguments>();
  Command command =
      program.subcommand("bench", "Measure the machine, and with a config each op and the whole step against it");
  const Option config = command.option("config", a->config, "YAML file");
  command.option("overrides", a->overrides, "key.path=value: settings that replace those of the file");
  command.option("--steps", a->steps, "Training steps to time; the median counts").show_default().whole_number(1);
  command.flag("!--no-ops", a->ops, "With a config: the whole step alone");
  command.option("--device", a->device, "Without a config: cpu, cuda or cuda:N").show_default().excludes(config);
  command.flag("--attention", a->attention, "Attention alone: every kind; on a GPU, every way that it may take");
  command.flag("--json", a->json, "One JSON object instead of tables");
  command.action([a] { run(*a); });
}

}  // namespace monge::tools
