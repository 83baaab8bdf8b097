// Data of one's own: a made-up language whose best possible loss is known exactly, and a tokenizer for text.
#pragma once

#include <monge.h>

#include <cmath>
#include <memory>
#include <string>
#include <vector>

namespace custom_data {

namespace train = monge::train;

/// `letters`: the 26 letters without their case; everything else is a space.
class Letters : public train::Tokenizer {
 public:
  std::string kind() const override { return "letters"; }
  std::int64_t vocab() const override { return 27; }
  std::vector<std::int32_t> encode(std::string_view text) const override {
    std::vector<std::int32_t> ids;
    for (const char c : text) {
      const char lower = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
      ids.push_back(lower >= 'a' && lower <= 'z' ? lower - 'a' + 1 : 0);
    }
    return ids;
  }
  std::string decode(const std::vector<std::int32_t>& ids) const override {
    std::string text;
    for (const std::int32_t id : ids) {
      if (id < 0 || id > 26) throw monge::InputError(fmt::format("token id {} is no letter; allowed: 0 .. 26", id));
      text += id == 0 ? ' ' : static_cast<char>('a' + id - 1);
    }
    return text;
  }
  std::string save() const override { return R"({"kind":"letters"})"; }
};

/// What YAML may say about it: data: {kind: stutter, symbols: 27, repeat: 0.9}
struct StutterOptions : monge::Options {
  std::int32_t symbols = 27;
  double repeat = 0.9;
  std::int64_t validation_windows = 256;
  void fields(monge::Fields& f) override {
    f("symbols", symbols, {.doc = "size of the vocabulary", .min = 2, .max = 27});
    f("repeat", repeat, {.doc = "that a symbol follows itself", .unit = "probability", .min = 0.01, .max = 0.99});
    f("validation_windows", validation_windows, {.doc = "number of validation sequences", .min = 1, .max = 1 << 20});
  }
};

/// Each symbol is the one before it with probability `repeat`, else one of the others.
class Stutter : public train::Dataset {
 public:
  Stutter(const StutterOptions& options, const train::DatasetContext& context) : options_(options), context_(context) {}

  std::int64_t vocab() const override { return options_.symbols; }
  const train::Tokenizer& tokenizer() const override { return letters_; }
  std::string description() const override {
    return fmt::format("stutter: {} symbols, entropy rate {:.4f} nats per token", options_.symbols, *entropy_rate());
  }

  // A sequence is a function of its place alone, so that a run resumes with the batches it would have seen. Training
  // and validation read different streams of random numbers.
  void train_sequence(std::uint64_t index, const train::Row& out) const override {
    monge::RandomSequence random = train::training_random(context_.seed, index);
    write(random, out);
  }
  std::int64_t validation_windows() const override { return options_.validation_windows; }
  void validation_window(std::int64_t index, const train::Row& out) const override {
    monge::RandomSequence random(0, monge::validation_stream, static_cast<std::uint32_t>(index));
    write(random, out);
  }

  /// H = -p log p - (1 - p) log((1 - p) / (V - 1))
  std::optional<double> entropy_rate() const override {
    return options_.repeat * loss_of(true) + (1.0 - options_.repeat) * loss_of(false);
  }
  /// What a predictor that knows the language loses on the very windows that a model is evaluated on.
  std::optional<double> validation_optimum(std::int64_t windows) const override {
    const auto length = static_cast<std::size_t>(context_.context);
    std::vector<std::int32_t> tokens(length), targets(length);
    double loss = 0.0;
    for (std::int64_t i = 0; i < windows; ++i) {
      validation_window(i, {{"tokens", tokens}, {"targets", targets}});
      for (std::size_t t = 0; t < length; ++t) loss += loss_of(targets[t] == tokens[t]);
    }
    return loss / static_cast<double>(windows * context_.context);
  }

 private:
  double loss_of(bool repeated) const {
    return -std::log(repeated ? options_.repeat : (1.0 - options_.repeat) / (options_.symbols - 1.0));
  }
  void write(monge::RandomSequence& random, const train::Row& out) const {
    const auto others = static_cast<std::uint64_t>(options_.symbols - 1);
    auto symbol = static_cast<std::int32_t>(random.below(others + 1));
    const std::span<std::int32_t> tokens = out["tokens"], targets = out["targets"];
    for (std::size_t t = 0; t < tokens.size(); ++t) {
      tokens[t] = symbol;
      if (random.uniform() >= options_.repeat) {
        symbol = (symbol + 1 + static_cast<std::int32_t>(random.below(others))) % options_.symbols;
      }
      targets[t] = symbol;
    }
  }

  StutterOptions options_;
  train::DatasetContext context_;
  Letters letters_;
};

inline void add_data() {
  train::datasets().add<StutterOptions>(
      "stutter", "symbols that repeat themselves, with their exact entropy",
      [](const StutterOptions& o, const train::DatasetContext& c) { return std::make_unique<Stutter>(o, c); });
  // A tokenizer is added twice: what makes it from a text, and what reads it back from a checkpoint.
  const auto make = [](const monge::NoOptions&, std::string_view) { return std::make_unique<Letters>(); };
  train::tokenizers().add<monge::NoOptions>("letters", "26 letters without case, and a space for the rest", make);
  train::saved_tokenizers().add<monge::NoOptions>("letters", "needs nothing but its name", make);
}

}  // namespace custom_data
