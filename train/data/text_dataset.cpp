#include "train/data/text_dataset.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include "core/random.h"
#include "core/random_streams.h"
#include "train/checkpoint/checksum.h"
#include "train/console/progress.h"
#include "train/data/text_file.h"
#include "train/data/token_store.h"

namespace monge::train {
namespace {

namespace fs = std::filesystem;

/// Where tokens are kept, or nothing when the environment names no place.
fs::path cache_folder(const std::string& option) {
  if (!option.empty()) return option;
  if (const char* cache = std::getenv("XDG_CACHE_HOME"); cache != nullptr && *cache != '\0') {
    return fs::path(cache) / "monge";
  }
  if (const char* home = std::getenv("HOME"); home != nullptr && *home != '\0') {
    return fs::path(home) / ".cache" / "monge";
  }
  return {};
}

std::string read_files(const std::vector<std::string>& paths) {
  std::string text;
  for (const std::string& path : paths) append_text_file(path, text);
  return text;
}

/// The tokens of a text, from the cache or into it: by the tokenizer of the context, or one made from it.
TokenStore tokenize(const std::string& text, const TextOptions& options, const DatasetContext& context) {
  const std::unique_ptr<Tokenizer> grown = context.grows ? context.tokenizer->grown(text) : nullptr;
  const Tokenizer* given = grown != nullptr ? grown.get() : context.tokenizer;
  const fs::path folder = cache_folder(options.cache);
  const auto file_of = [&](std::uint64_t key) { return folder / (checksum_text(key) + ".tokens"); };
  std::uint64_t key = checksum(text) ^ checksum(tokenizer_identity(options.tokenizer));
  auto kept = TokenStore::open(file_of(key), key);
  if (given != nullptr && !(kept && kept->tokenizer().save() == given->save())) {
    key = checksum(text) ^ checksum("given\n" + given->save());
    kept = TokenStore::open(file_of(key), key);
  }
  if (kept) return std::move(*kept);

  const std::string path = file_of(key);
  auto made = [&]() -> TokenStore {
    try {
      if (given != nullptr) return {*given, given->encode(text), key};
      const auto fresh = tokenizers().make(options.tokenizer, text);
      return {*fresh, fresh->encode(text), key};
    } catch (const InputError& error) {
      throw InputError(fmt::format("data.path: {}: {}", fmt::join(options.path, ", "), error.what()));
    }
  }();
  const std::string problem = folder.empty() ? "neither XDG_CACHE_HOME nor HOME is set" : made.save(path);
  if (problem.empty()) {
    if (auto saved = TokenStore::open(path, key)) return std::move(*saved);
  } else {
    show(stderr, fmt::format("warning: the tokenized text is kept in memory only, because it cannot be written to '{}' "
                             "({}); data.cache names another folder\n",
                             folder.string(), problem));
  }
  return made;
}

class TextDataset : public Dataset {
 public:
  TextDataset(const TextOptions& options, const DatasetContext& context)
      : TextDataset(options, context, read_files(options.path)) {}

  std::uint64_t content(const std::vector<nn::BatchField>&) const override { return content_; }
  std::int64_t vocab() const override { return tokens_.tokenizer().vocab(); }
  const Tokenizer& tokenizer() const override { return tokens_.tokenizer(); }
  std::string description() const override {
    return fmt::format("text: {}, {} tokens ({}, vocabulary {}), {} for training, {} for validation ({} windows of {})",
                       paths_, tokens_.size(), tokenizer().kind(), vocab(), training_, tokens_.size() - training_,
                       validation_windows(), context_.context);
  }

  void train_sequence(std::uint64_t index, const Row& out) const override {
    RandomSequence random = training_random(context_.seed, index);
    const std::int64_t places = training_ - context_.context;
    window(static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(places))), out["tokens"], out["targets"]);
  }

  std::int64_t validation_windows() const override { return (tokens_.size() - training_ - 1) / context_.context; }
  void validation_window(std::int64_t index, const Row& out) const override {
    require(index >= 0 && index < validation_windows(), "validation_window: window {} of {}", index,
            validation_windows());
    window(training_ + index * context_.context, out["tokens"], out["targets"]);
  }

 private:
  TextDataset(const TextOptions& options, const DatasetContext& context, const std::string& text)
      : context_(context),
        paths_(fmt::format("{}", fmt::join(options.path, ", "))),
        content_(checksum(text)),
        tokens_(tokenize(text, options, context)) {
    training_ = static_cast<std::int64_t>((1.0 - options.validation_fraction) * static_cast<double>(tokens_.size()));
    const std::int64_t needed = context.context + 1;
    if (training_ < needed || tokens_.size() - training_ < needed) {
      throw InputError(fmt::format(
          "data.path: {} has {} tokens: {} for training and {} for validation, and each part needs model.context + 1 = "
          "{} at least; give a longer text in data.path, lower model.context or change data.validation_fraction (now "
          "{})",
          paths_, tokens_.size(), training_, tokens_.size() - training_, needed, options.validation_fraction));
    }
  }

  void window(std::int64_t begin, std::span<std::int32_t> inputs, std::span<std::int32_t> targets) const {
    require(std::ssize(inputs) == context_.context && std::ssize(targets) == context_.context,
            "dataset: a sequence has {} inputs and targets, not {} and {}", context_.context, inputs.size(),
            targets.size());
    tokens_.read(begin, inputs);
    tokens_.read(begin + 1, targets);
  }

  DatasetContext context_;
  std::string paths_;
  std::uint64_t content_;
  TokenStore tokens_;
  std::int64_t training_ = 0;  // tokens before the validation data
};

}  // namespace

void TextOptions::fields(Fields& f) {
  f("path", path, {.doc = "a text file, or a list of files that are read one after the other", .required = true});
  f("tokenizer", tokenizer, tokenizers(), {.doc = "how text becomes tokens"});
  f("validation_fraction", validation_fraction,
    {.doc = "share of the tokens, at the end, that is kept for validation",
     .min = 0.0,
     .max = 0.9,
     .exclusive_min = true});
  f("cache", cache, {.doc = "folder that keeps the tokenized text; empty: $XDG_CACHE_HOME/monge or ~/.cache/monge"});
}

std::unique_ptr<Dataset> make_text_dataset(const TextOptions& options, const DatasetContext& context) {
  if (options.path.empty()) throw InputError("data.path: name a text file, or a list of them");
  return std::make_unique<TextDataset>(options, context);
}

}  // namespace monge::train
