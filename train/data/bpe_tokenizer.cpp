#include "train/data/bpe_tokenizer.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <queue>
#include <set>

#include "core/json.h"

namespace monge::train {
namespace {

constexpr std::int32_t byte_tokens = 256;

std::uint64_t key_of(std::int32_t left, std::int32_t right) {
  return static_cast<std::uint64_t>(left) << 32 | static_cast<std::uint32_t>(right);
}

enum class CharacterClass { letter, digit, space, other };

CharacterClass class_of(char c) {
  const auto byte = static_cast<unsigned char>(c);
  const auto lower = static_cast<unsigned char>(byte | 0x20);
  if (byte >= 0x80 || (lower >= 'a' && lower <= 'z')) return CharacterClass::letter;
  if (byte >= '0' && byte <= '9') return CharacterClass::digit;
  if (byte == ' ' || (byte >= '\t' && byte <= '\r')) return CharacterClass::space;
  return CharacterClass::other;
}

std::vector<std::int32_t> bytes_of(std::string_view word) {
  const auto* bytes = reinterpret_cast<const unsigned char*>(word.data());
  return {bytes, bytes + word.size()};
}

/// Replaces every (left, right) by `merged`, from the left.
void merge(std::vector<std::int32_t>& tokens, BpeTokenizer::Pair pair, std::int32_t merged) {
  std::size_t end = 0;
  for (std::size_t i = 0; i < tokens.size(); ++end) {
    const bool here = i + 1 < tokens.size() && tokens[i] == pair.first && tokens[i + 1] == pair.second;
    tokens[end] = here ? merged : tokens[i];
    i += here ? 2 : 1;
  }
  tokens.resize(end);
}

/// Learns merges from words and how often they are there.
class BpeTrainer {
 public:
  explicit BpeTrainer(std::string_view text) {
    std::map<std::string_view, std::int64_t> counts;
    for (const std::string_view word : bpe_words(text)) ++counts[word];
    for (const auto& [word, count] : counts) {
      words_.push_back({bytes_of(word), count});
      add(words_.size() - 1, 1);
    }
    for (const auto& [pair, use] : uses_) queue_.push({use.count, pair});
  }

  std::vector<BpeTokenizer::Pair> learn(std::int64_t vocab) {
    std::vector<BpeTokenizer::Pair> merges;
    while (byte_tokens + std::ssize(merges) < vocab && !queue_.empty()) {
      const auto [count, pair] = queue_.top();
      queue_.pop();
      if (count != uses_[pair].count) continue;  // it has changed since
      if (count < 2) break;
      put_together(pair, byte_tokens + static_cast<std::int32_t>(merges.size()));
      merges.push_back(pair);
    }
    return merges;
  }

 private:
  using Pair = BpeTokenizer::Pair;
  struct Word {
    std::vector<std::int32_t> tokens;
    std::int64_t count;
  };
  struct Use {
    std::int64_t count = 0;
    std::set<std::size_t> words;  // in which it may be
  };
  struct Candidate {
    std::int64_t count;
    Pair pair;
    bool operator<(const Candidate& other) const {
      return count != other.count ? count < other.count : pair > other.pair;
    }
  };

  /// Adds the pairs of a word to the counts, or takes them away with sign -1.
  void add(std::size_t w, std::int64_t sign) {
    const auto& [tokens, count] = words_[w];
    for (std::size_t i = 0; i + 1 < tokens.size(); ++i) {
      Use& use = uses_[{tokens[i], tokens[i + 1]}];
      use.count += sign * count;
      if (sign > 0) use.words.insert(w);
    }
  }

  void put_together(Pair pair, std::int32_t merged) {
    std::set<Pair> changed;
    const auto note = [&](const std::vector<std::int32_t>& tokens) {
      for (std::size_t i = 0; i + 1 < tokens.size(); ++i) changed.insert({tokens[i], tokens[i + 1]});
    };
    for (const std::size_t w : std::set<std::size_t>(std::move(uses_[pair].words))) {
      note(words_[w].tokens);
      add(w, -1);
      merge(words_[w].tokens, pair, merged);
      add(w, 1);
      note(words_[w].tokens);
    }
    for (const Pair& p : changed) queue_.push({uses_[p].count, p});
  }

  std::vector<Word> words_;
  std::map<Pair, Use> uses_;
  std::priority_queue<Candidate> queue_;
};

}  // namespace

std::vector<std::string_view> bpe_words(std::string_view text) {
  std::vector<std::string_view> out;
  for (std::size_t begin = 0; begin < text.size();) {
    const auto run_from = [&](std::size_t i) {
      const CharacterClass kind = class_of(text[i]);
      while (i < text.size() && class_of(text[i]) == kind) ++i;
      return i;
    };
    std::size_t end = run_from(begin);
    if (class_of(text[begin]) == CharacterClass::space && text[end - 1] == ' ' && end < text.size()) {
      // The last space belongs to what follows.
      end = end - begin > 1 ? end - 1 : run_from(end);
    }
    out.push_back(text.substr(begin, end - begin));
    begin = end;
  }
  return out;
}

BpeTokenizer::BpeTokenizer(std::vector<Pair> merges) : merges_(std::move(merges)) {
  for (int byte = 0; byte < byte_tokens; ++byte) bytes_.emplace_back(1, static_cast<char>(byte));
  for (const auto& [left, right] : merges_) {
    const auto id = static_cast<std::int32_t>(bytes_.size());
    if (left < 0 || right < 0 || left >= id || right >= id) {
      throw InputError(fmt::format("merge {} is of the tokens {} and {}; allowed: 0 .. {}", id, left, right, id - 1));
    }
    if (!merged_.emplace(key_of(left, right), id).second) {
      throw InputError(fmt::format("the tokens {} and {} are merged twice", left, right));
    }
    bytes_.push_back(bytes_[static_cast<std::size_t>(left)] + bytes_[static_cast<std::size_t>(right)]);
  }
}

std::vector<std::int32_t> BpeTokenizer::encode_word(std::string_view word) const {
  std::vector<std::int32_t> tokens = bytes_of(word);
  for (;;) {
    std::int32_t lowest = -1;
    Pair pair;
    for (std::size_t i = 0; i + 1 < tokens.size(); ++i) {
      const auto found = merged_.find(key_of(tokens[i], tokens[i + 1]));
      if (found == merged_.end() || (lowest >= 0 && found->second >= lowest)) continue;
      lowest = found->second;
      pair = {tokens[i], tokens[i + 1]};
    }
    if (lowest < 0) return tokens;
    merge(tokens, pair, lowest);
  }
}

std::vector<std::int32_t> BpeTokenizer::encode(std::string_view text) const {
  std::vector<std::int32_t> ids;
  std::unordered_map<std::string_view, std::vector<std::int32_t>> seen;
  for (const std::string_view word : bpe_words(text)) {
    const auto [at, is_new] = seen.try_emplace(word);
    if (is_new) at->second = encode_word(word);
    ids.insert(ids.end(), at->second.begin(), at->second.end());
  }
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

std::string BpeTokenizer::save() const { return json_text({{"kind", "bpe"}, {"merges", merges_}}); }

void BpeOptions::fields(Fields& f) {
  f("vocab", vocab, {.doc = "tokens: the 256 bytes and what is put together of them", .min = byte_tokens});
}

std::unique_ptr<Tokenizer> make_bpe_tokenizer(const BpeOptions& options, std::string_view text) {
  return std::make_unique<BpeTokenizer>(BpeTrainer(text).learn(options.vocab));
}

std::unique_ptr<Tokenizer> load_bpe_tokenizer(const NoOptions&, std::string_view json) {
  try {
    return std::make_unique<BpeTokenizer>(parse_json(json).at("merges").get<std::vector<BpeTokenizer::Pair>>());
  } catch (const Json::exception&) {
    throw InputError("a saved bpe tokenizer must have \"merges\", a list of pairs of token ids");
  }
}

}  // namespace monge::train
