// A run small enough for tests, and what two runs must have in common.
#pragma once

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "core/options/yaml.h"
#include "support/temp_directory.h"
#include "train/trainer.h"

namespace monge::test {

inline constexpr const char* tiny_yaml = R"(
data: {kind: markov, symbols: 6, order: 1, validation_windows: 10}
model: {layers: 2, heads: 2, width: 16, context: 8, dropout: 0.1}
optimizer: {lr: 1.0e-2, schedule: {kind: cosine, warmup: 1}}
train: {steps: 20, batch: 4, accumulate: 2, eval_every: 10, checkpoint_every: 4, log_every: 3, sample_tokens: 12, threads: 1}
)";

inline train::Config tiny_config(const std::vector<std::string>& overrides = {}) {
  train::Config config;
  read_yaml_text(tiny_yaml, "tiny.yaml", overrides, config);
  return config;
}

/// Trains into `out`; after step `stop_after` the run is asked to stop.
inline train::RunEnd train_tiny(const std::filesystem::path& out, const std::vector<std::string>& overrides = {},
                                bool resume = false, std::int64_t stop_after = -1) {
  train::Progress silent(nullptr);
  train::Trainer trainer(tiny_config(overrides), out, resume, silent);
  return trainer.run([&] { return trainer.step() == stop_after; });
}

/// The lines of metrics.jsonl without what depends on the clock or the machine.
inline std::vector<nlohmann::json> metrics_of(const std::filesystem::path& run) {
  std::vector<nlohmann::json> lines;
  std::istringstream in(read_file(run / "metrics.jsonl"));
  for (std::string line; std::getline(in, line);) {
    auto json = nlohmann::json::parse(line);
    for (const char* key : {"seconds", "tokens_per_second", "mfu", "peak_bytes"}) json.erase(key);
    lines.push_back(std::move(json));
  }
  return lines;
}

inline std::filesystem::path checkpoint_dir(const std::filesystem::path& run, int step) {
  return run / "checkpoints" / fmt::format("step_{:08}", step);
}

/// Equal weights, optimizer state and metrics, bit by bit.
inline void expect_same_run(const std::filesystem::path& a, const std::filesystem::path& b, int last_step) {
  for (const char* file : {"model.safetensors", "optimizer.safetensors"}) {
    const std::string expected = read_file(checkpoint_dir(a, last_step) / file);
    EXPECT_FALSE(expected.empty());
    EXPECT_TRUE(expected == read_file(checkpoint_dir(b, last_step) / file)) << file << " differs";
  }
  EXPECT_EQ(metrics_of(a), metrics_of(b));
  EXPECT_EQ(read_file(a / "sample.txt"), read_file(b / "sample.txt"));
}

}  // namespace monge::test
