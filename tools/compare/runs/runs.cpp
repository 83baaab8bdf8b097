#include "tools/compare/runs/runs.h"

#include <unistd.h>

#include <cmath>
#include <cstdlib>
#include <deque>
#include <fstream>
#include <iterator>
#include <limits>
#include <nlohmann/json.hpp>
#include <sstream>

#include "core/error.h"
#include "core/json.h"
#include "core/options/yaml.h"
#include "tools/compare/statistics/sample.h"
#include "train/checkpoint/checksum.h"
#include "train/config/config.h"
#include "train/folder/run_folder.h"

namespace fs = std::filesystem;

namespace monge::compare {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

std::string read_text(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

std::string last_lines(const fs::path& file) {
  constexpr std::size_t most = 5;
  std::deque<std::string> lines;
  std::ifstream in(file);
  for (std::string line; std::getline(in, line);) {
    lines.push_back(line);
    if (lines.size() > most) lines.pop_front();
  }
  return fmt::format("{}", fmt::join(lines, "\n"));
}

/// One word of a line for the shell.
std::string quoted(const std::string& word) {
  std::string out = "'";
  for (const char c : word) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

constexpr const char* error_file = "error.txt";  // train/folder/run_folder.h

/// As execvp finds it.
bool is_program(const std::string& word) {
  if (word.find('/') != std::string::npos) return ::access(word.c_str(), X_OK) == 0;
  const char* path = std::getenv("PATH");
  std::istringstream folders(path == nullptr ? "/bin:/usr/bin" : path);
  for (std::string folder; std::getline(folders, folder, ':');) {
    if (::access((fs::path(folder) / word).c_str(), X_OK) == 0) return true;
  }
  return false;
}

/// What the run printed when it failed.
std::string read_error(const fs::path& run) {
  std::string text = read_text(run / error_file);
  while (text.ends_with('\n')) text.pop_back();
  return text.empty() ? "the message could not be written; is the disk full?" : text;
}

/// Fills the curve from metrics.jsonl. The time of a line is that of its tokens at the rate it states, which leaves out
/// evaluations.
void read_metrics(const fs::path& file, double passes_per_step, RunResult& result) {
  std::ifstream in(file);
  std::vector<double> step_seconds;
  double seconds = 0.0, tokens = 0.0;
  std::int64_t step = 0;
  for (std::string text; std::getline(in, text);) {
    const auto line = parse_json(text);
    const double line_seconds = (line.at("tokens").get<double>() - tokens) / line.at("tokens_per_second").get<double>();
    const std::int64_t line_steps = line.at("step").get<std::int64_t>() - step;
    seconds += line_seconds;
    step_seconds.push_back(line_seconds / static_cast<double>(line_steps));
    line.at("tokens").get_to(tokens);
    line.at("step").get_to(step);
    if (!line.contains("val_loss")) continue;
    result.points.push_back({.step = step,
                             .seconds = seconds,
                             .forward_backwards = static_cast<double>(step) * passes_per_step,
                             .train_loss = line.at("train_loss").get<double>(),
                             .val_loss = line.at("val_loss").get<double>()});
    if (line.contains("val_accuracy")) result.points.back().val_accuracy = line["val_accuracy"].get<double>();
  }
  if (!step_seconds.empty()) result.step_milliseconds = 1e3 * median(step_seconds);
}

/// Of a run that went through its schedule with finite numbers, but has not learned: it ends higher than it once was,
/// and on the data it trains on it does no better than guessing.
bool failed_to_learn(const RunResult& result) {
  if (result.points.empty()) return false;
  const Point& last = result.points.back();
  if (result.summary.vocab < 2) return false;  // it predicts no tokens
  const double guessing = std::log(static_cast<double>(result.summary.vocab));
  return last.val_loss > result.points.front().val_loss && last.train_loss.value_or(0.0) > guessing;
}

std::string this_program() { return fs::read_symlink("/proc/self/exe").string(); }

RunResult read_result(const fs::path& run) {
  RunResult result;
  result.summary = train::read_summary(run / "summary.json");
  read_metrics(run / "metrics.jsonl", result.summary.passes_per_step, result);
  result.final_loss = result.summary.val_loss.value_or(infinity);
  result.message = result.summary.message;
  if (failed_to_learn(result)) {
    result.message = fmt::format(
        "the training loss ends at {:.4f}, which is worse than guessing, and the validation "
        "loss at {:.4f}, above where it began",
        *result.points.back().train_loss, result.final_loss);
  }
  if (result.summary.diverged || failed_to_learn(result)) {
    result.status = Run::Status::diverged;
    result.final_loss = infinity;
  }
  return result;
}

/// What results say of a run.
RunResult result_of(const Results& results, const Run& run) {
  const Workload& workload = results.workloads[run.workload];
  RunResult result{.status = run.status,
                   .message = run.message,
                   .final_loss = run.final_loss,
                   .points = run.points,
                   .step_milliseconds = run.step_milliseconds,
                   .made_by = run.made_by};
  result.summary.optimum = workload.optimum;
  result.summary.vocab = workload.vocab;
  result.summary.parameters = workload.parameters;
  result.summary.data = workload.data;
  result.summary.state_bytes = run.state_bytes;
  result.summary.passes_per_step = run.passes_per_step;
  result.summary.initial_weights = run.initial_weights;
  result.summary.batches = run.batches;
  result.summary.device = run.device;
  result.summary.own_cores = run.own_cores;
  return result;
}

/// A configuration that another program has resolved, as this one would: keys that are new here get their defaults.
/// Nothing where it has keys or values that are unknown here. The comments before it, checksums of data, stay.
std::optional<std::string> resolved_here(const std::string& config) {
  std::size_t yaml = 0;
  while (yaml < config.size() && config[yaml] == '#') {
    const std::size_t end = config.find('\n', yaml);
    yaml = end == std::string::npos ? config.size() : end + 1;
  }
  train::Config run;
  try {
    read_yaml_text(config, "the configuration of a run", {}, run);
  } catch (const InputError&) {
    return std::nullopt;
  }
  return config.substr(0, yaml) + write_yaml(run);
}

}  // namespace

std::int64_t threads_of(const std::string& config) {
  train::Config run;
  read_yaml_text(config, "the configuration of a run", {}, run);
  return run.train.threads;
}

Runs::Runs(fs::path folder, RunsOptions options) : folder_(std::move(folder)), options_(std::move(options)) {
  std::istringstream words(options_.launcher);
  for (std::string word; words >> word;) launcher_.push_back(word);
  if (!launcher_.empty() && !is_program(launcher_.front())) {
    throw InputError(fmt::format("launcher: there is no program '{}' on the PATH", launcher_.front()));
  }
  std::error_code error;
  fs::create_directories(folder_, error);
  if (error) throw InputError(fmt::format("--out: cannot write to '{}': {}", folder_.string(), error.message()));
}

Runs::~Runs() {
  for (auto& [hash, child] : children_) {
    child.process.reset();  // kills it
    std::error_code ignored;
    fs::remove_all(path(hash), ignored);
  }
}

fs::path Runs::path(const std::string& hash, const char* extension) const { return folder_ / (hash + extension); }

std::string Runs::hash(const std::string& config, const std::string& made_by) {
  return train::checksum_text(train::checksum(config + made_by));
}

std::set<std::string> Runs::carry(const Results& results) {
  std::set<std::string> taken;
  const bool gathered_here = numerics_of(results) == options_.numerics;
  if (gathered_here) std::ranges::for_each(results.verdicts, [this](const Verdict& v) { borrowed_.remember(v); });
  for (const Run& run : results.runs) {
    if (run.status == Run::Status::failed || run.hash != hash(run.config, run.made_by)) continue;
    // What this program has gathered from others, it has believed.
    if (gathered_here || run.made_by == options_.numerics) {
      keep(*taken.insert(hash(run.config)).first, result_of(results, run));
      continue;
    }
    const std::optional<std::string> config = resolved_here(run.config);
    if (!config) continue;
    const BorrowedRuns::Kind kind{run.made_by, results.variants[run.variant].name,
                                  results.workloads[run.workload].name};
    const std::string id = hash(*config);
    if (!borrowed_.add(kind, id, result_of(results, run))) continue;
    taken.insert(id);
    const RunResult* own = own_result(*config);
    if (own != nullptr && !is_borrowed(*own)) borrowed_.judge(id, *own);
  }
  return taken;
}

RunResult Runs::failed_run(std::string message) const {
  return {.status = Run::Status::failed,
          .message = std::move(message),
          .final_loss = infinity,
          .made_by = options_.numerics};
}

const RunResult& Runs::keep(const std::string& hash, RunResult result) {
  RunResult& kept = results_[hash] = std::move(result);
  if (!is_borrowed(kept)) borrowed_.judge(hash, kept);
  return kept;
}

const RunResult* Runs::result(const std::string& config) {
  const RunResult* own = own_result(config);
  return own != nullptr ? own : borrowed_.believed(hash(config));
}

const RunResult* Runs::expected(const std::string& config) {
  const RunResult* known = result(config);
  return known != nullptr ? known : borrowed_.expected(hash(config));
}

const RunResult* Runs::own_result(const std::string& config) {
  const std::string id = hash(config);
  if (const auto known = results_.find(id); known != results_.end()) return &known->second;
  if (children_.contains(id)) return nullptr;
  const bool finished = fs::exists(path(id) / "summary.json");
  if (!finished && !failed_for_others(id)) return nullptr;
  // Two texts may have one hash, if once in a world.
  if (read_text(path(id, ".yaml")) != config) return nullptr;
  if (!finished) return &keep(id, failed_run(read_error(path(id))));
  fs::remove_all(path(id) / "checkpoints");
  try {
    RunResult result = read_result(path(id));
    result.made_by = options_.numerics;
    return &keep(id, std::move(result));
  } catch (const std::exception&) {
    return nullptr;  // damaged: it runs anew
  }
}

bool Runs::failed_for_others(const std::string& hash) const {
  return options_.made_by_others && fs::exists(path(hash) / error_file) && !train::FolderLock::is_held(path(hash));
}

void Runs::start(const std::string& config) {
  const std::string id = hash(config);
  fs::remove_all(path(id));
  train::write_text_file(path(id, ".yaml"), config);
  std::vector<std::string> command = launcher_;
  for (const std::string& word :
       {this_program(), std::string("train"), path(id, ".yaml").string(), std::string("--out"), path(id).string()}) {
    command.push_back(word);
  }
  const ProcessorUse use = processor_use(config);
  children_[id] = {std::make_unique<ChildProcess>(std::move(command), use, path(id, ".log")), use.cores};
}

ProcessorUse Runs::processor_use(const std::string& config) {
  ProcessorUse use{.threads = options_.threads};
  if (!launcher_.empty()) return use;
  // Runs without cores of their own would disturb those that have them: all of a comparison have, or none.
  if (children_.empty() && (own_cores_ == nullptr || own_cores_->cores().empty())) {
    own_cores_.reset();
    own_cores_ = std::make_unique<OwnCores>(static_cast<std::size_t>(options_.jobs * options_.most_threads));
    idle_cores_ = own_cores_->cores();
  }
  const auto threads = static_cast<std::size_t>(threads_of(config));
  use.shares_cores = idle_cores_.size() < threads;
  if (use.shares_cores) return use;
  const auto first = idle_cores_.end() - static_cast<std::ptrdiff_t>(threads);
  use.cores.assign(first, idle_cores_.end());
  idle_cores_.erase(first, idle_cores_.end());
  return use;
}

std::string Runs::command(const std::string& config) {
  const std::string id = hash(config);
  train::write_text_file(path(id, ".yaml"), config);
  const fs::path at = fs::absolute(path(id));
  return fmt::format("OMP_NUM_THREADS={} {} train {} --out {} --resume", options_.threads, quoted(this_program()),
                     quoted(at.string() + ".yaml"), quoted(at.string()));
}

std::int64_t Runs::step(const std::string& config) const {
  std::ifstream in(path(hash(config)) / "metrics.jsonl");
  std::string last;
  for (std::string line; std::getline(in, line) && !in.eof();) last = line;  // the end of the file may be half a line
  const auto json = parse_json(last);
  return json.is_object() ? json.value("step", std::int64_t{0}) : 0;
}

bool Runs::poll() {
  const std::size_t before = children_.size();
  for (auto child = children_.begin(); child != children_.end();) {
    const std::optional<int> code = child->second.process->ended();
    if (!code) {
      ++child;
      continue;
    }
    const std::string id = child->first;
    idle_cores_.insert(idle_cores_.end(), child->second.cores.begin(), child->second.cores.end());
    child = children_.erase(child);
    finish(id, *code);
  }
  if (children_.size() == before) return false;
  borrowed_.release_witnesses([this](const std::string& hash) { return children_.contains(hash); });
  return true;
}

void Runs::finish(const std::string& hash, int code) {
  if (fs::exists(path(hash) / "summary.json")) {
    own_result(read_text(path(hash, ".yaml")));  // those that wait for it count now, or not
    return;
  }
  const std::string end = code > 128 ? fmt::format("signal {}", code - 128) : fmt::format("exit code {}", code);
  std::string said = fs::exists(path(hash) / error_file) ? read_error(path(hash)) : last_lines(path(hash, ".log"));
  if (said.empty()) said = "it printed nothing";
  keep(hash, failed_run(fmt::format("{}: {}", end, said)));
}

}  // namespace monge::compare
