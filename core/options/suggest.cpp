#include "core/options/suggest.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <numeric>

namespace monge {
namespace {

std::string lower(std::string_view word) {
  std::string out(word);
  std::transform(out.begin(), out.end(), out.begin(), [](unsigned char c) { return std::tolower(c); });
  return out;
}

}  // namespace

// Optimal string alignment: Levenshtein's recurrence with swaps of neighbours, on its last three rows.
std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> older(b.size() + 1), previous(b.size() + 1), row(b.size() + 1);
  std::iota(previous.begin(), previous.end(), std::size_t{0});
  for (std::size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t replaced = previous[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      row[j] = std::min({previous[j] + 1, row[j - 1] + 1, replaced});
      const bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
      if (swapped) row[j] = std::min(row[j], older[j - 2] + 1);
    }
    std::swap(older, previous);
    std::swap(previous, row);
  }
  return previous[b.size()];
}

namespace {

/// What nanoGPT and Hugging Face call a key of a configuration.
constexpr std::array<std::pair<std::string_view, std::string_view>, 34> elsewhere{{
    {"n_layer", "model.layers"},
    {"n_layers", "model.layers"},
    {"num_hidden_layers", "model.layers"},
    {"n_head", "model.heads"},
    {"n_heads", "model.heads"},
    {"num_attention_heads", "model.heads"},
    {"num_key_value_heads", "model.kv_heads"},
    {"n_embd", "model.width"},
    {"d_model", "model.width"},
    {"hidden_size", "model.width"},
    {"block_size", "model.context"},
    {"n_positions", "model.context"},
    {"max_position_embeddings", "model.context"},
    {"intermediate_size", "model.mlp.ratio"},
    {"learning_rate", "optimizer.lr"},
    {"min_lr", "optimizer.schedule.final_lr"},
    {"warmup_iters", "optimizer.schedule.warmup"},
    {"warmup_steps", "optimizer.schedule.warmup"},
    {"lr_scheduler_type", "optimizer.schedule.kind"},
    {"grad_clip", "optimizer.clip_norm"},
    {"max_grad_norm", "optimizer.clip_norm"},
    {"beta1", "optimizer.betas"},
    {"beta2", "optimizer.betas"},
    {"max_iters", "train.steps"},
    {"max_steps", "train.steps"},
    {"batch_size", "train.batch"},
    {"per_device_train_batch_size", "train.batch"},
    {"gradient_accumulation_steps", "train.accumulate"},
    {"eval_interval", "train.eval_every"},
    {"eval_iters", "train.eval_batches"},
    {"log_interval", "train.log_every"},
    {"dtype", "train.precision"},
    {"dataset", "data.path"},
    {"vocab_size", "data.tokenizer.vocab"},
}};

}  // namespace

std::string did_you_mean_key(std::string_view key, const std::vector<std::string>& candidates) {
  const auto known = std::ranges::find(elsewhere, key, &std::pair<std::string_view, std::string_view>::first);
  if (known != elsewhere.end()) return fmt::format(". Did you mean '{}'?", known->second);
  return did_you_mean(key, candidates);
}

std::string did_you_mean(std::string_view word, const std::vector<std::string>& candidates) {
  constexpr std::size_t longest = 64;  // nobody meant a word longer than this
  if (word.empty() || word.size() > longest) return "";
  const std::string wanted = lower(word);
  const std::string* best = nullptr;
  std::size_t best_distance = 0;
  for (const std::string& candidate : candidates) {
    const std::size_t distance = edit_distance(wanted, lower(candidate));
    // One letter in three may be wrong; a single letter alone suggests nothing.
    const std::size_t allowed = std::max(word.size(), candidate.size()) / 3;
    if (distance <= allowed && (best == nullptr || distance < best_distance)) {
      best = &candidate;
      best_distance = distance;
    }
  }
  return best == nullptr ? "" : fmt::format(". Did you mean '{}'?", *best);
}

}  // namespace monge
