#include "train/data/pair_layout.h"

#include <algorithm>

#include "core/error.h"

namespace monge::train {

std::int32_t mark_token(const Tokenizer& tokenizer, char mark) {
  const auto ids = tokenizer.encode(std::string(1, mark));
  if (ids.size() != 1) {
    throw InputError(fmt::format("a {} must be one token, and the tokenizer {} makes {} of it",
                                 mark == '\t' ? "tab" : "line break", tokenizer.kind(), ids.size()));
  }
  return ids.front();
}

std::int64_t longest_source(const std::vector<nn::BatchField>& fields) {
  const auto named = [&](const char* name) { return std::ranges::find(fields, name, &nn::BatchField::name); };
  return named("source") == fields.end() || named("source_segment") == fields.end() ? 0 : named("source")->length;
}

std::size_t first_source(const HostBatch& window) {
  return static_cast<std::size_t>(std::ranges::count(window["source_segment"], 0));
}

std::size_t first_target(const HostBatch& window) {
  const std::vector<std::int32_t>& targets = window["targets"];
  const std::vector<std::int32_t>* const segments = window.find("segment");
  std::size_t n = 0;
  while (n < targets.size() && targets[n] >= 0 && (segments == nullptr || (*segments)[n] == 0)) ++n;
  return n;
}

PairLayout::PairLayout(const DatasetContext& context, const Tokenizer& tokenizer)
    : context_(context.context),
      source_length_(longest_source(context.fields)),
      reads_segments_(std::ranges::count(context.fields, "segment", &nn::BatchField::name) > 0),
      end_(mark_token(tokenizer, '\n')),
      separator_(mark_token(tokenizer, '\t')) {}

std::vector<std::string> PairLayout::fields() const {
  std::vector<std::string> out{"tokens", "targets"};
  if (apart()) out.insert(out.end(), {"source", "source_segment"});
  if (apart() && reads_segments_) out.push_back("segment");
  return out;
}

std::int64_t PairLayout::size(const Pair& pair) const {
  return apart() ? std::ssize(pair.target) + 1 : std::ssize(pair.source) + 1 + std::ssize(pair.target);
}

std::string PairLayout::misfit(const Pair& pair) const {
  if (apart() && std::ssize(pair.source) > source_length_) {
    return fmt::format("the source has {} tokens; allowed: {} (model.source_context)", pair.source.size(),
                       source_length_);
  }
  if (size(pair) <= context_) return {};
  if (apart()) {
    return fmt::format("the target has {} tokens; allowed: {} (model.context less its end)", pair.target.size(),
                       context_ - 1);
  }
  return fmt::format("source and target have {} and {} tokens; allowed: {} together (model.context less the tab)",
                     pair.source.size(), pair.target.size(), context_ - 1);
}

bool PairLayout::has_room(const std::vector<const Pair*>& pairs, const Pair& next) const {
  std::int64_t tokens = size(next), source = std::ssize(next.source);
  for (const Pair* pair : pairs) {
    tokens += size(*pair) + (apart() ? 0 : 1);
    source += std::ssize(pair->source);
  }
  return tokens <= context_ && (!apart() || source <= source_length_);
}

void PairLayout::write(const std::vector<const Pair*>& pairs, const Row& out) const {
  const std::span<std::int32_t> tokens = out["tokens"], targets = out["targets"];
  require(std::ssize(tokens) == context_ && std::ssize(targets) == context_ && (takes_several() || pairs.size() == 1),
          "pairs: a sequence has {} tokens, not {}", context_, tokens.size());
  std::ranges::fill(tokens, end_);
  std::ranges::fill(targets, -1);
  std::size_t at = 0;
  const auto put = [&](std::int32_t token, std::int32_t target) {
    tokens[at] = token;
    targets[at++] = target;
  };
  /// The target, each token predicted by the one before it, the first by `before`.
  const auto put_target = [&](std::int32_t before, const std::vector<std::int32_t>& target) {
    for (const std::int32_t token : target) {
      put(before, token);
      before = token;
    }
    put(before, end_);
  };
  if (apart()) {
    const std::span<std::int32_t> source = out["source"], source_segment = out["source_segment"];
    require(std::ssize(source) == source_length_ && source_segment.size() == source.size(),
            "pairs: a source has {} tokens, not {}", source_length_, source.size());
    const std::span<std::int32_t> segment = reads_segments_ ? out["segment"] : std::span<std::int32_t>();
    std::ranges::fill(source, end_);
    std::int32_t id = 0;
    std::size_t begin = 0;  // of a pair's source
    for (const Pair* pair : pairs) {
      std::fill(source_segment.begin() + static_cast<std::ptrdiff_t>(begin), source_segment.end(), id);
      if (reads_segments_) std::fill(segment.begin() + static_cast<std::ptrdiff_t>(at), segment.end(), id);
      std::ranges::copy(pair->source, source.begin() + static_cast<std::ptrdiff_t>(begin));
      put_target(end_, pair->target);
      begin += pair->source.size();
      ++id;
    }
    std::fill(source_segment.begin() + static_cast<std::ptrdiff_t>(begin), source_segment.end(), id);
    return;
  }
  for (const Pair* pair : pairs) {
    if (at > 0) put(end_, -1);
    for (const std::int32_t token : pair->source) put(token, -1);
    put_target(separator_, pair->target);
  }
}

}  // namespace monge::train
