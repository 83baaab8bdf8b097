#include "train/tokenizer/bpe_tokenizer.h"

#include <algorithm>
#include <functional>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <queue>

#include "core/json.h"
#include "train/console/slow_work.h"

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

enum class CharacterClass { letter, digit, space, other };

CharacterClass class_of(char c) {
  const auto byte = static_cast<unsigned char>(c);
  const auto lower = static_cast<unsigned char>(byte | 0x20);
  if (byte >= 0x80 || (lower >= 'a' && lower <= 'z')) return CharacterClass::letter;
  if (byte >= '0' && byte <= '9') return CharacterClass::digit;
  if (byte == ' ' || (byte >= '\t' && byte <= '\r')) return CharacterClass::space;
  return CharacterClass::other;
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
    for (const std::string_view word : bpe_words(text)) {
      ++counts[word];
      reading.reached(static_cast<double>(word.data() - text.data()));
    }
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
    if (!merged_.emplace(key_of({left, right}), id).second) {
      throw InputError(fmt::format("the tokens {} and {} are merged twice", left, right));
    }
    bytes_.push_back(bytes_[static_cast<std::size_t>(left)] + bytes_[static_cast<std::size_t>(right)]);
  }
}

std::vector<std::int32_t> BpeTokenizer::encode_word(std::string_view word) const {
  using At = TokenChain::At;
  TokenChain chain;
  chain.add_word(word);
  // The lowest id first, of equal ones the leftmost.
  std::priority_queue<std::pair<std::int32_t, At>, std::vector<std::pair<std::int32_t, At>>, std::greater<>> queue;
  const auto look = [&](At at) {
    const auto pair = chain.pair(at);
    const auto found = pair ? merged_.find(key_of(*pair)) : merged_.end();
    if (found != merged_.end()) queue.push({found->second, at});
  };
  for (At at = 0; at < chain.size(); ++at) look(at);
  while (!queue.empty()) {
    const auto [id, at] = queue.top();
    queue.pop();
    if (chain.pair(at) != merges_[static_cast<std::size_t>(id - byte_tokens)]) continue;  // it is not there any more
    chain.merge(at, id);
    if (chain.before(at) != TokenChain::none) look(chain.before(at));
    look(at);
  }
  std::vector<std::int32_t> tokens;
  for (At at = 0; at != TokenChain::none; at = chain.after(at)) tokens.push_back(chain.id(at));
  return tokens;
}

std::vector<std::int32_t> BpeTokenizer::encode(std::string_view text) const {
  std::vector<std::int32_t> ids;
  std::unordered_map<std::string_view, std::vector<std::int32_t>> seen;
  SlowWork encoding("bpe: encoding, bytes", static_cast<double>(text.size()));
  for (const std::string_view word : bpe_words(text)) {
    const auto [at, is_new] = seen.try_emplace(word);
    if (is_new) at->second = encode_word(word);
    ids.insert(ids.end(), at->second.begin(), at->second.end());
    encoding.reached(static_cast<double>(word.data() - text.data()));
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
  f("vocab", vocab,
    {.doc = "tokens: the 256 bytes and what is put together of them", .min = byte_tokens, .max = 1 << 24});
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
