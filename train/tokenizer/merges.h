// What tokenizers of byte pairs share: the merges, and a memory of words.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace monge::train {

/// Which tokens are put together, and in which order. Immutable once filled; thread-safe.
class MergeTable {
 public:
  /// Merge number `size()`: of `left` and `right` becomes `made`. False, and nothing is added, where the pair is there.
  bool add(std::int32_t left, std::int32_t right, std::int32_t made);
  std::size_t size() const { return made_.size(); }

  /// Puts the pair of the earliest merge together, of equal ones the leftmost, until none is left.
  void apply(std::vector<std::int32_t>& tokens) const;

 private:
  struct Slot {
    std::uint64_t pair = 0;
    std::int32_t rank = -1;  // -1: empty
  };
  /// The rank of the merge of a pair; -1 where there is none.
  std::int32_t rank(std::int32_t left, std::int32_t right) const;
  std::size_t slot_of(std::uint64_t pair) const;
  void grow();

  std::vector<Slot> slots_;  // open addressing; a power of two, at most half full
  std::vector<std::int32_t> made_;
};

/// The tokens of words that came before. Forgets all of them when they become too many to find quickly.
class WordMemory {
 public:
  WordMemory();

  /// Appends to `ids` what `encode(word, tokens)` leaves in the empty `tokens`, or left there before.
  template <class Encode>
  void append(std::string_view word, std::vector<std::int32_t>& ids, const Encode& encode) {
    const std::uint64_t hash = hash_of(word);
    Entry* entry = find(word, hash);
    if (entry->length == 0) {
      fresh_.clear();
      encode(word, fresh_);
      if (word.size() > longest || fresh_.size() > longest) {
        ids.insert(ids.end(), fresh_.begin(), fresh_.end());
        return;
      }
      entry = add(entry, word, hash);
    }
    const std::int32_t* const tokens = tokens_.data() + entry->tokens;
    ids.insert(ids.end(), tokens, tokens + entry->count);
  }

 private:
  struct Entry {
    std::uint64_t hash = 0;
    std::uint32_t text = 0, tokens = 0;   // where they begin in text_ and tokens_
    std::uint16_t length = 0, count = 0;  // length 0: empty
  };
  static constexpr std::size_t longest = 256;
  static std::uint64_t hash_of(std::string_view word);
  /// Of the word, or the empty one where it belongs.
  Entry* find(std::string_view word, std::uint64_t hash);
  /// Remembers fresh_ as the tokens of a word.
  Entry* add(Entry* empty, std::string_view word, std::uint64_t hash);

  std::vector<Entry> entries_;  // open addressing
  std::size_t used_ = 0;
  std::string text_;
  std::vector<std::int32_t> tokens_, fresh_;
};

}  // namespace monge::train
