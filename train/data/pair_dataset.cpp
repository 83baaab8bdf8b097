#include "train/data/pair_dataset.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "core/json.h"
#include "train/checkpoint/checksum.h"
#include "train/console/interrupt.h"
#include "train/data/pair_layout.h"
#include "train/data/text_file.h"

namespace monge::train {
namespace {

/// A pair as text, and where it stands.
struct TextPair {
  std::string source, target;
  std::string place;  // "data.path: file, line 7"
};

/// Whether brackets stand in each other so deeply that no parser should try.
bool is_deep(const std::string& json) {
  constexpr int most = 100;
  int depth = 0;
  for (const char c : json) {
    depth += c == '[' || c == '{' ? 1 : c == ']' || c == '}' ? -1 : 0;
    if (depth > most) return true;
  }
  return false;
}

/// One of the two texts of a JSON line.
std::string text_of(const Json& line, const std::string& key, const std::string& place) {
  if (!line.is_object()) {
    throw InputError(
        fmt::format("{}: a line of a .jsonl file is an object such as {{\"source\": \"a\", \"target\": "
                    "\"b\"}}",
                    place));
  }
  if (!line.contains(key) || !line[key].is_string()) {
    throw InputError(
        fmt::format("{}: there is no text '{}'; data.source and data.target name the two keys of a line", place, key));
  }
  return line[key].get<std::string>();
}

TextPair parse_line(const std::string& line, bool json, const PairOptions& options, const std::string& place) {
  TextPair pair{.place = place};
  if (json) {
    if (is_deep(line)) throw InputError(fmt::format("{}: the line is nested too deeply", place));
    const Json parsed = parse_json(line);
    if (parsed.is_discarded()) throw InputError(fmt::format("{}: the line is no JSON", place));
    pair.source = text_of(parsed, options.source, place);
    pair.target = text_of(parsed, options.target, place);
  } else {
    const std::size_t tab = line.find('\t');
    const auto columns = 1 + std::ranges::count(line, '\t');
    if (columns != 2) {
      throw InputError(fmt::format("{}: {} column{}; a line is a source, a tab and a target", place, columns,
                                   columns == 1 ? "" : "s"));
    }
    pair.source = line.substr(0, tab);
    pair.target = line.substr(tab + 1);
  }
  for (const auto& [name, text] : {std::pair{"source", &pair.source}, {"target", &pair.target}}) {
    if (text->empty()) throw InputError(fmt::format("{}: the {} is empty", place, name));
    if (text->find_first_of("\t\n\r") != std::string::npos) {
      throw InputError(
          fmt::format("{}: the {} holds a tab or a line break, which end a source and a target; replace "
                      "them by spaces",
                      place, name));
    }
  }
  return pair;
}

class PairDataset : public Dataset {
 public:
  PairDataset(const PairOptions& options, const DatasetContext& context)
      : PairDataset(options, context, read(options)) {}

  std::int64_t vocab() const override { return tokenizer_->vocab(); }
  const Tokenizer& tokenizer() const override { return *tokenizer_; }
  std::vector<std::string> fields() const override { return layout_->fields(); }
  bool has_answers() const override { return true; }
  std::uint64_t content(const std::vector<nn::BatchField>&) const override { return content_; }
  std::string description() const override {
    return fmt::format(
        "pairs: {}, {} pairs ({}, vocabulary {}), {} for training, {} for validation ({} windows of {}){}", paths_,
        pairs_.size(), tokenizer_->kind(), vocab(), training_, pairs_.size() - training_, windows_.size(),
        layout_->context(), skipped_ > 0 ? fmt::format(", {} too long ones left out", skipped_) : "");
  }

  void train_sequence(std::uint64_t index, const Row& out) const override {
    RandomSequence random = training_random(seed_, index);
    std::vector<const Pair*> chosen;
    do {
      const Pair& pair = pairs_[random.below(training_)];
      if (!layout_->has_room(chosen, pair)) break;  // never the first
      chosen.push_back(&pair);
    } while (packed_);
    layout_->write(chosen, out);
  }

  std::int64_t validation_windows() const override { return std::ssize(windows_); }
  void validation_window(std::int64_t index, const Row& out) const override {
    require(index >= 0 && index < validation_windows(), "validation_window: window {} of {}", index,
            validation_windows());
    const auto [first, count] = windows_[static_cast<std::size_t>(index)];
    std::vector<const Pair*> chosen;
    for (std::size_t i = first; i < first + count; ++i) chosen.push_back(&pairs_[i]);
    layout_->write(chosen, out);
  }

 private:
  struct Read {
    std::vector<TextPair> pairs;
    std::string text;  // all pairs, a line each
  };

  static Read read(const PairOptions& options) {
    Read out;
    for (const std::string& path : options.path) {
      std::string text;
      append_text_file(path, text);
      const bool json = path.ends_with(".jsonl");
      std::size_t number = 0;
      if (text.starts_with("\xef\xbb\xbf")) text.erase(0, 3);  // a byte order mark
      for (std::size_t begin = 0; begin < text.size();) {
        stop_here_if_interrupted();
        const std::size_t end = std::min(text.find('\n', begin), text.size());
        std::string line = text.substr(begin, end - begin);
        begin = end + 1;
        ++number;
        if (line.ends_with('\r')) line.pop_back();
        if (line.empty()) continue;
        out.pairs.push_back(parse_line(line, json, options, fmt::format("data.path: {}, line {}", path, number)));
        out.text += out.pairs.back().source + '\t' + out.pairs.back().target + '\n';
      }
    }
    return out;
  }

  PairDataset(const PairOptions& options, const DatasetContext& context, const Read& read)
      : seed_(context.seed),
        packed_(options.packed),
        paths_(fmt::format("{}", fmt::join(options.path, ", "))),
        content_(checksum(read.text)) {
    try {
      tokenizer_ = context.tokenizer != nullptr ? load_tokenizer(context.tokenizer->save())
                                                : tokenizers().make(options.tokenizer, read.text);
      layout_ = std::make_unique<PairLayout>(context, *tokenizer_);
    } catch (const InputError& error) {
      throw InputError(fmt::format("data.path: {}: {}", paths_, error.what()));
    }
    if (packed_ && !layout_->takes_several()) {
      throw InputError(
          "data.packed: the model reads a source beside the tokens, and one pair a sequence; allowed: false, or "
          "model.packed: true with model.kind encoder_decoder, or model.kind gpt");
    }
    for (const TextPair& text : read.pairs) {
      stop_here_if_interrupted();
      Pair pair;
      try {
        pair = {tokenizer_->encode(text.source), tokenizer_->encode(text.target)};
      } catch (const InputError& error) {
        throw InputError(fmt::format("{}: {}", text.place, error.what()));
      }
      const std::string misfit = layout_->misfit(pair);
      if (misfit.empty()) {
        pairs_.push_back(std::move(pair));
      } else if (options.skip_long) {
        ++skipped_;
      } else {
        throw InputError(
            fmt::format("{}: {}; data.skip_long: true leaves out pairs that do not fit", text.place, misfit));
      }
    }
    const auto validating = std::llround(std::ceil(options.validation_fraction * static_cast<double>(pairs_.size())));
    if (std::ssize(pairs_) < 2 || validating >= std::ssize(pairs_)) {
      throw InputError(fmt::format(
          "data.path: {} has {} pairs that fit, {} of them for validation; there must be one of each at least", paths_,
          pairs_.size(), validating));
    }
    training_ = pairs_.size() - static_cast<std::size_t>(validating);
    for (std::size_t i = training_; i < pairs_.size();) {
      const std::size_t first = i;
      std::vector<const Pair*> chosen{&pairs_[i++]};
      while (packed_ && i < pairs_.size() && layout_->has_room(chosen, pairs_[i])) chosen.push_back(&pairs_[i++]);
      windows_.push_back({first, i - first});
    }
  }

  struct Window {
    std::size_t first, count;  // of pairs_
  };

  std::uint64_t seed_;
  bool packed_;
  std::string paths_;
  std::uint64_t content_;
  std::unique_ptr<Tokenizer> tokenizer_;
  std::unique_ptr<PairLayout> layout_;
  std::vector<Pair> pairs_;
  std::vector<Window> windows_;
  std::size_t training_ = 0;  // pairs before the validation data
  std::int64_t skipped_ = 0;
};

}  // namespace

void PairOptions::fields(Fields& f) {
  f("path", path,
    {.doc = "a file of pairs, or a list of them: a line is a source, a tab and a target; in .jsonl files a JSON object",
     .required = true});
  f("source", source, {.doc = "key of the source in the lines of a .jsonl file"});
  f("target", target, {.doc = "key of the target there"});
  f("tokenizer", tokenizer, tokenizers(), {.doc = "how text becomes tokens"});
  f("packed", packed,
    {.doc = "as many pairs in a sequence as there is room for; for model.kind gpt, where they see each other, or "
            "model.packed"});
  f("skip_long", skip_long, {.doc = "leave out pairs that do not fit the model, instead of refusing them"});
  f("validation_fraction", validation_fraction,
    {.doc = "share of the pairs, at the end, that is kept for validation",
     .min = 0.0,
     .max = 0.9,
     .exclusive_min = true});
}

std::unique_ptr<Dataset> make_pair_dataset(const PairOptions& options, const DatasetContext& context) {
  if (options.path.empty()) throw InputError("data.path: name a file of pairs, or a list of them");
  return std::make_unique<PairDataset>(options, context);
}

}  // namespace monge::train
