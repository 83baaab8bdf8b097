#include "train/tokenizer/hf/pre_tokenizer.h"

#include <string>
#include <vector>

#include "core/error.h"
#include "train/tokenizer/hf/replacement.h"
#include "train/tokenizer/unicode/normal_form.h"
#include "train/tokenizer/unicode/pattern.h"
#include "train/tokenizer/utf8.h"

namespace monge::train::hf {
namespace {

/// Radford et al. 2019 (GPT-2), what ByteLevel cuts a text with.
constexpr const char* gpt2_words = R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

/// What becomes of a match beside the pieces around it.
enum class Behavior { removed, isolated, merged_with_previous, merged_with_next, contiguous };

Behavior behavior_of(const JsonPlace& place) {
  const std::string& name = place.text();
  if (name == "Removed") return Behavior::removed;
  if (name == "Isolated") return Behavior::isolated;
  if (name == "MergedWithPrevious") return Behavior::merged_with_previous;
  if (name == "MergedWithNext") return Behavior::merged_with_next;
  if (name == "Contiguous") return Behavior::contiguous;
  place.refuse(
      fmt::format("unknown behavior '{}'; allowed: Removed, Isolated, MergedWithPrevious, MergedWithNext, "
                  "Contiguous",
                  name));
}

/// Puts matches and what lies between together, as a behavior says.
class Joiner {
 public:
  Joiner(Behavior behavior, std::string_view text, bool first, const PreTokenizer::Piece& piece)
      : behavior_(behavior), text_(text), first_(first), piece_(piece) {}

  void add(std::size_t begin, std::size_t end, bool matches) {
    const bool joined = behavior_ == Behavior::merged_with_previous ? matches && !matched_
                        : behavior_ == Behavior::merged_with_next   ? !matches && matched_
                        : behavior_ == Behavior::contiguous         ? matches == matched_
                                                                    : false;
    if (!joined) {
      flush();
      begin_ = begin;
    }
    end_ = end;
    matched_ = matches;
  }
  void flush() {
    const bool removed = behavior_ == Behavior::removed && matched_;
    if (begin_ < end_ && !removed) piece_(text_.substr(begin_, end_ - begin_), first_ && begin_ == 0);
    begin_ = end_;
  }

 private:
  Behavior behavior_;
  std::string_view text_;
  bool first_;
  const PreTokenizer::Piece& piece_;
  std::size_t begin_ = 0, end_ = 0;
  bool matched_ = false;
};

class Split : public PreTokenizer {
 public:
  Split(Pattern pattern, Behavior behavior, bool invert)
      : pattern_(std::move(pattern)), behavior_(behavior), invert_(invert) {}

  void split(std::string_view text, bool first, const Piece& piece) const override {
    Joiner joiner(behavior_, text, first, piece);
    pattern_.split(text, [&joiner, this](std::size_t begin, std::size_t end, bool matches) {
      joiner.add(begin, end, matches != invert_);
    });
    joiner.flush();
  }

 private:
  Pattern pattern_;
  Behavior behavior_;
  bool invert_;
};

class Digits : public PreTokenizer {
 public:
  explicit Digits(bool individual) : behavior_(individual ? Behavior::isolated : Behavior::contiguous) {}

  void split(std::string_view text, bool first, const Piece& piece) const override {
    Joiner joiner(behavior_, text, first, piece);
    std::size_t begin = 0;
    for (std::size_t at = 0; at < text.size();) {
      const CodePoint character = code_point_at(text, at);
      if (is_number(character.value)) {
        if (begin < at) joiner.add(begin, at, false);
        begin = at + character.bytes;
        joiner.add(at, begin, true);
      }
      at += character.bytes;
    }
    if (begin < text.size()) joiner.add(begin, text.size(), false);
    joiner.flush();
  }

 private:
  Behavior behavior_;
};

class ByteLevel : public PreTokenizer {
 public:
  ByteLevel(bool prefix_space, bool words, const std::string& place) : prefix_space_(prefix_space) {
    if (words) words_ = std::make_unique<Split>(Pattern(gpt2_words, place), Behavior::isolated, false);
  }

  void split(std::string_view text, bool first, const Piece& piece) const override {
    std::string prefixed;
    if (prefix_space_ && !text.starts_with(' ')) text = prefixed.append(" ").append(text);
    if (words_ != nullptr) {
      words_->split(text, first, piece);
    } else {
      piece(text, first);
    }
  }
  bool bytes() const override { return true; }

 private:
  bool prefix_space_;
  std::unique_ptr<Split> words_;
};

class Metaspace : public PreTokenizer {
 public:
  explicit Metaspace(const JsonPlace& place)
      : mark_(place.at("replacement").text()), split_(place.flag("split", true)) {
    place.only({"type", "replacement", "prepend_scheme", "split", "add_prefix_space", "str_rep"});
    check_utf8(mark_);
    if (mark_.empty() || code_point_at(mark_, 0).bytes != mark_.size()) {
      place.at("replacement").refuse("must be one character");
    }
    scheme_ = place.flag("add_prefix_space", true) ? "always" : "never";
    if (const auto scheme = place.find("prepend_scheme")) {
      scheme_ = scheme->text();
      if (scheme_ != "always" && scheme_ != "first" && scheme_ != "never") {
        scheme->refuse(fmt::format("unknown scheme '{}'; allowed: always, first, never", scheme_));
      }
    }
  }

  void split(std::string_view text, bool first, const Piece& piece) const override {
    std::string marked;
    marked.reserve(text.size() + text.size() / 2);
    const bool starts = text.starts_with(' ') || text.starts_with(mark_);
    if (!starts && (scheme_ == "always" || (scheme_ == "first" && first))) marked = mark_;
    for (const char c : text) {
      if (c == ' ') {
        marked += mark_;
      } else {
        marked += c;
      }
    }
    if (!split_) {
      piece(marked, first);
      return;
    }
    for (std::size_t begin = 0; begin < marked.size();) {
      const std::size_t end = std::min(marked.find(mark_, begin + 1), marked.size());
      piece(std::string_view(marked).substr(begin, end - begin), first && begin == 0);
      begin = end;
    }
  }

 private:
  std::string mark_, scheme_;
  bool split_;
};

class Sequence : public PreTokenizer {
 public:
  explicit Sequence(const JsonPlace& steps) {
    for (std::size_t i = 0; i < steps.list().size(); ++i) {
      if (!steps_.empty() && steps_.back()->bytes()) steps.at(i).refuse("nothing is supported after ByteLevel");
      steps_.push_back(make_pre_tokenizer(steps.at(i)));
    }
  }
  void split(std::string_view text, bool first, const Piece& piece) const override {
    split_from(0, text, first, piece);
  }
  bool bytes() const override { return !steps_.empty() && steps_.back()->bytes(); }

 private:
  void split_from(std::size_t step, std::string_view text, bool first, const Piece& piece) const {
    if (step == steps_.size()) {
      piece(text, first);
    } else if (step + 1 == steps_.size()) {
      steps_[step]->split(text, first, piece);
    } else {
      const auto rest = [&](std::string_view part, bool at_start) { split_from(step + 1, part, at_start, piece); };
      steps_[step]->split(text, first, std::ref(rest));
    }
  }

  std::vector<std::unique_ptr<const PreTokenizer>> steps_;
};

}  // namespace

std::unique_ptr<const PreTokenizer> make_pre_tokenizer(const JsonPlace& place) {
  const std::string& type = place.at("type").text();
  if (type == "Split") {
    place.only({"type", "pattern", "behavior", "invert"});
    return std::make_unique<Split>(make_pattern(place.at("pattern")), behavior_of(place.at("behavior")),
                                   place.flag("invert", false));
  }
  if (type == "Digits") {
    place.only({"type", "individual_digits"});
    return std::make_unique<Digits>(place.at("individual_digits").flag());
  }
  if (type == "ByteLevel") {
    place.only({"type", "add_prefix_space", "trim_offsets", "use_regex"});
    return std::make_unique<ByteLevel>(place.flag("add_prefix_space", true), place.flag("use_regex", true),
                                       place.name());
  }
  if (type == "Metaspace") return std::make_unique<Metaspace>(place);
  if (type == "Sequence") {
    place.only({"type", "pretokenizers"});
    return std::make_unique<Sequence>(place.at("pretokenizers"));
  }
  place.refuse(
      fmt::format("the pre-tokenizer '{}' is not supported; allowed: Split, Digits, ByteLevel, Metaspace, "
                  "Sequence",
                  type));
}

}  // namespace monge::train::hf
