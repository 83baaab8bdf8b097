#include "train/tokenizer/bpe_tokenizer.h"

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <queue>
#include <unordered_map>

#include "core/json.h"
#include "train/console/slow_work.h"
#include "train/tokenizer/unicode/normal_form.h"
#include "train/tokenizer/utf8.h"

namespace monge::train {
namespace {

constexpr std::int32_t byte_tokens = 256;

/// A pair as one number, in the same order.
std::uint64_t key_of(BpeTokenizer::Pair pair) {
  return static_cast<std::uint64_t>(pair.first) << 32 | static_cast<std::uint32_t>(pair.second);
}

BpeTokenizer::Pair pair_of(std::uint64_t key) {
  return {static_cast<std::int32_t>(key >> 32), static_cast<std::int32_t>(key & 0xffffffffu)};
}

/// Of one byte, where those beyond ASCII are letters.
CharacterClass ascii_class(char c) {
  return static_cast<unsigned char>(c) < 0x80 ? class_of(static_cast<char32_t>(c)) : CharacterClass::letter;
}

/// Calls `found(word)` for the words of a text, in order.
template <class Found>
void each_word(std::string_view text, BpeWords words, const Found& found) {
  struct Character {
    CharacterClass kind;
    std::size_t bytes;
  };
  const auto character_at = [&](std::size_t at) -> Character {
    if (words == BpeWords::ascii || static_cast<unsigned char>(text[at]) < 0x80) return {ascii_class(text[at]), 1};
    const CodePoint character = code_point_or_byte(text, at);
    return {character.bytes == 1 ? CharacterClass::letter : class_of(character.value), character.bytes};
  };
  const auto run_from = [&](std::size_t at) {
    const Character first = character_at(at);
    for (at += first.bytes; at < text.size();) {
      const Character next = character_at(at);
      if (next.kind != first.kind) break;
      at += next.bytes;
    }
    return at;
  };
  for (std::size_t begin = 0; begin < text.size();) {
    std::size_t end = run_from(begin);
    if (end < text.size() && text[end - 1] == ' ' && character_at(begin).kind == CharacterClass::space) {
      // The last space belongs to what follows.
      end = end - begin > 1 ? end - 1 : run_from(end);
    }
    found(text.substr(begin, end - begin));
    begin = end;
  }
}

/// Words one after the other as tokens in a list, out of which tokens can be taken without moving the others.
class TokenChain {
 public:
  using At = std::uint32_t;
  static constexpr At none = std::numeric_limits<At>::max();

  void add_word(std::string_view word) {
    if (word.size() >= none - tokens_.size()) {
      throw InputError("tokenizer bpe: the text has more than 4 GB of different words; learn from a part of it");
    }
    for (std::size_t i = 0; i < word.size(); ++i) {
      const auto at = static_cast<At>(tokens_.size());
      tokens_.push_back({.id = static_cast<unsigned char>(word[i]),
                         .before = i == 0 ? none : at - 1,
                         .after = i + 1 == word.size() ? none : at + 1});
    }
  }
  At size() const { return static_cast<At>(tokens_.size()); }
  std::int32_t id(At at) const { return tokens_[at].id; }
  At before(At at) const { return tokens_[at].before; }
  At after(At at) const { return tokens_[at].after; }

  /// The token at `at` and the one after it; none behind the last token of a word and where a token was taken out.
  std::optional<BpeTokenizer::Pair> pair(At at) const {
    if (tokens_[at].after == none) return std::nullopt;
    return BpeTokenizer::Pair{tokens_[at].id, tokens_[tokens_[at].after].id};
  }
  /// Makes one token of the pair at `at`.
  void merge(At at, std::int32_t id) {
    const At gone = tokens_[at].after, after = tokens_[gone].after;
    tokens_[at].id = id;
    tokens_[at].after = after;
    if (after != none) tokens_[after].before = at;
    tokens_[gone].after = none;
  }

 private:
  struct Token {
    std::int32_t id;
    At before, after;
  };
  std::vector<Token> tokens_;
};

/// Learns merges from words and how often they are there.
class BpeTrainer {
 public:
  explicit BpeTrainer(std::string_view text) {
    std::unordered_map<std::string_view, std::int64_t> counts;
    SlowWork reading("bpe: counting words, bytes", static_cast<double>(text.size()));
    each_word(text, BpeWords::unicode, [&](std::string_view word) {
      ++counts[word];
      reading.reached(static_cast<double>(word.data() - text.data()));
    });
    for (const auto& [word, count] : counts) {
      chain_.add_word(word);
      counts_.resize(chain_.size(), count);
    }
    for (At at = 0; at < chain_.size(); ++at) {
      if (const auto pair = chain_.pair(at)) found(*pair, at);
    }
    for (const auto& [key, use] : uses_) queue_.push({use.count, key});
  }

  std::vector<BpeTokenizer::Pair> learn(std::int64_t vocab) {
    std::vector<BpeTokenizer::Pair> merges;
    SlowWork learning("bpe: learning tokens", static_cast<double>(vocab));
    while (byte_tokens + std::ssize(merges) < vocab && !queue_.empty()) {
      const Candidate best = queue_.top();
      queue_.pop();
      const std::int64_t count = uses_[best.key].count;
      if (count < 2) continue;
      if (count < best.count) {  // once a pair is known it only gets rarer
        queue_.push({count, best.key});
        continue;
      }
      put_together(best.key, byte_tokens + static_cast<std::int32_t>(merges.size()));
      merges.push_back(pair_of(best.key));
      learning.reached(static_cast<double>(merges.size()));
    }
    return merges;
  }

 private:
  using Pair = BpeTokenizer::Pair;
  using At = TokenChain::At;
  struct Use {
    std::int64_t count = 0;
    std::vector<At> places;  // where it was found, from the left; it need not be there any more
  };
  struct Candidate {
    std::int64_t count;
    std::uint64_t key;
    bool operator<(const Candidate& other) const {
      return count != other.count ? count < other.count : key > other.key;
    }
  };

  void found(Pair pair, At at) {
    Use& use = uses_[key_of(pair)];
    use.count += counts_[at];
    use.places.push_back(at);
  }
  void lost(Pair pair, At at) { uses_[key_of(pair)].count -= counts_[at]; }

  void put_together(std::uint64_t key, std::int32_t merged) {
    std::vector<std::uint64_t> fresh;
    const auto find = [&](At at) {
      const Pair pair = *chain_.pair(at);
      found(pair, at);
      fresh.push_back(key_of(pair));
    };
    for (const At at : std::vector<At>(std::move(uses_[key].places))) {
      if (chain_.pair(at) != pair_of(key)) continue;
      const At before = chain_.before(at), gone = chain_.after(at);
      if (before != TokenChain::none) lost(*chain_.pair(before), before);
      if (const auto pair = chain_.pair(gone)) lost(*pair, gone);
      lost(pair_of(key), at);
      chain_.merge(at, merged);
      if (before != TokenChain::none) find(before);
      if (chain_.pair(at)) find(at);
    }
    std::ranges::sort(fresh);
    fresh.erase(std::ranges::unique(fresh).begin(), fresh.end());
    for (const std::uint64_t made : fresh) queue_.push({uses_[made].count, made});
  }

  TokenChain chain_;
  std::vector<std::int64_t> counts_;  // at each place, how often its word is there
  std::unordered_map<std::uint64_t, Use> uses_;
  std::priority_queue<Candidate> queue_;
};

}  // namespace

std::vector<std::string_view> bpe_words(std::string_view text, BpeWords words) {
  std::vector<std::string_view> out;
  each_word(text, words, [&](std::string_view word) { out.push_back(word); });
  return out;
}

BpeTokenizer::BpeTokenizer(std::vector<Pair> merges, BpeWords words) : merges_(std::move(merges)), words_(words) {
  for (int byte = 0; byte < byte_tokens; ++byte) bytes_.emplace_back(1, static_cast<char>(byte));
  for (const auto& [left, right] : merges_) {
    const auto id = static_cast<std::int32_t>(bytes_.size());
    if (left < 0 || right < 0 || left >= id || right >= id) {
      throw InputError(fmt::format("merge {} is of the tokens {} and {}; allowed: 0 .. {}", id, left, right, id - 1));
    }
    if (!table_.add(left, right, id)) {
      throw InputError(fmt::format("the tokens {} and {} are merged twice", left, right));
    }
    bytes_.push_back(bytes_[static_cast<std::size_t>(left)] + bytes_[static_cast<std::size_t>(right)]);
  }
}

std::vector<std::int32_t> BpeTokenizer::encode(std::string_view text) const {
  std::vector<std::int32_t> ids;
  WordMemory memory;
  SlowWork encoding("bpe: encoding, bytes", static_cast<double>(text.size()));
  each_word(text, words_, [&](std::string_view word) {
    memory.append(word, ids, [&](std::string_view fresh, std::vector<std::int32_t>& tokens) {
      for (const char c : fresh) tokens.push_back(static_cast<unsigned char>(c));
      table_.apply(tokens);
    });
    encoding.reached(static_cast<double>(word.data() - text.data()));
  });
  return ids;
}

std::string BpeTokenizer::decode(const std::vector<std::int32_t>& ids) const {
  std::string text;
  for (const std::int32_t id : ids) {
    if (id < 0 || id >= vocab()) {
      throw InputError(fmt::format("token id {} is not in the vocabulary; allowed: 0 .. {}", id, vocab() - 1));
    }
    text += bytes_[static_cast<std::size_t>(id)];
  }
  return text;
}

std::string BpeTokenizer::save() const {
  Json saved = {{"kind", "bpe"}};
  if (words_ == BpeWords::unicode) saved["words"] = "unicode";
  saved["merges"] = merges_;
  return json_text(saved);
}

void BpeOptions::fields(Fields& f) {
  f("vocab", vocab,
    {.doc = "tokens: the 256 bytes and what is put together of them", .min = byte_tokens, .max = 1 << 24});
}

std::unique_ptr<Tokenizer> make_bpe_tokenizer(const BpeOptions& options, std::string_view text) {
  return std::make_unique<BpeTokenizer>(BpeTrainer(text).learn(options.vocab));
}

std::unique_ptr<Tokenizer> load_bpe_tokenizer(const NoOptions&, std::string_view json) {
  const Json saved = parse_json(json);
  auto words = BpeWords::ascii;
  if (saved.is_object() && saved.contains("words")) {
    if (saved["words"] != "unicode") {
      throw InputError(
          "the \"words\" of a saved bpe tokenizer are of a kind that this version does not know; allowed: "
          "\"unicode\"");
    }
    words = BpeWords::unicode;
  }
  try {
    return std::make_unique<BpeTokenizer>(saved.at("merges").get<std::vector<BpeTokenizer::Pair>>(), words);
  } catch (const Json::exception&) {
    throw InputError("a saved bpe tokenizer must have \"merges\", a list of pairs of token ids");
  }
}

}  // namespace monge::train
