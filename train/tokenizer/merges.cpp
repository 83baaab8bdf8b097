#include "train/tokenizer/merges.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <cstring>

namespace monge::train {
namespace {

constexpr std::size_t first_slots = 1024;
constexpr std::size_t first_entries = 1 << 12, most_entries = 1 << 18;

std::uint64_t key_of(std::int32_t left, std::int32_t right) {
  return static_cast<std::uint64_t>(static_cast<std::uint32_t>(left)) << 32 | static_cast<std::uint32_t>(right);
}

}  // namespace

std::size_t MergeTable::slot_of(std::uint64_t pair) const {
  const std::size_t mask = slots_.size() - 1;
  std::size_t at = (pair * 0x9E3779B97F4A7C15u >> 32) & mask;
  while (slots_[at].rank >= 0 && slots_[at].pair != pair) at = (at + 1) & mask;
  return at;
}

void MergeTable::grow() {
  std::vector<Slot> old(std::max(first_slots, slots_.size() * 2));
  old.swap(slots_);
  for (const Slot& slot : old) {
    if (slot.rank >= 0) slots_[slot_of(slot.pair)] = slot;
  }
}

bool MergeTable::add(std::int32_t left, std::int32_t right, std::int32_t made) {
  if (made_.size() * 2 >= slots_.size()) grow();
  const std::uint64_t pair = key_of(left, right);
  Slot& slot = slots_[slot_of(pair)];
  if (slot.rank >= 0) return false;
  slot = {pair, static_cast<std::int32_t>(made_.size())};
  made_.push_back(made);
  return true;
}

std::int32_t MergeTable::rank(std::int32_t left, std::int32_t right) const {
  return slots_.empty() ? -1 : slots_[slot_of(key_of(left, right))].rank;
}

void MergeTable::apply(std::vector<std::int32_t>& tokens) const {
  if (tokens.size() < 2) return;
  struct Token {
    std::int32_t id, before, after;  // neighbours as places; -1: none
    bool gone = false;
  };
  struct Candidate {
    std::int32_t rank, at, left, right;
    bool operator<(const Candidate& other) const {  // the heap has its largest on top
      return rank != other.rank ? rank > other.rank : at > other.at;
    }
  };
  thread_local std::vector<Token> chain;
  thread_local std::vector<Candidate> heap;
  chain.clear();
  heap.clear();
  const auto size = static_cast<std::int32_t>(tokens.size());
  for (std::int32_t i = 0; i < size; ++i) {
    chain.push_back({tokens[static_cast<std::size_t>(i)], i - 1, i + 1 < size ? i + 1 : -1});
  }
  const auto token = [&](std::int32_t at) -> Token& { return chain[static_cast<std::size_t>(at)]; };
  const auto look = [&](std::int32_t at) {
    if (at < 0 || token(at).after < 0) return false;
    const std::int32_t left = token(at).id, right = token(token(at).after).id, found = rank(left, right);
    if (found < 0) return false;
    heap.push_back({found, at, left, right});
    return true;
  };
  for (std::int32_t at = 0; at < size; ++at) look(at);
  std::make_heap(heap.begin(), heap.end());
  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end());
    const Candidate best = heap.back();
    heap.pop_back();
    Token& left = token(best.at);
    if (left.gone || left.after < 0 || left.id != best.left || token(left.after).id != best.right) continue;
    Token& right = token(left.after);
    left.id = made_[static_cast<std::size_t>(best.rank)];
    left.after = right.after;
    right.gone = true;
    if (right.after >= 0) token(right.after).before = best.at;
    if (look(left.before)) std::push_heap(heap.begin(), heap.end());
    if (look(best.at)) std::push_heap(heap.begin(), heap.end());
  }
  tokens.clear();
  for (std::int32_t at = 0; at >= 0; at = token(at).after) tokens.push_back(token(at).id);
}

WordMemory::WordMemory() : entries_(first_entries) {}

std::uint64_t WordMemory::hash_of(std::string_view word) { return XXH3_64bits(word.data(), word.size()); }

WordMemory::Entry* WordMemory::find(std::string_view word, std::uint64_t hash) {
  const std::size_t mask = entries_.size() - 1;
  for (std::size_t at = hash & mask;; at = (at + 1) & mask) {
    Entry& entry = entries_[at];
    if (entry.length == 0) return &entry;
    if (entry.hash == hash && entry.length == word.size() &&
        std::memcmp(text_.data() + entry.text, word.data(), word.size()) == 0) {
      return &entry;
    }
  }
}

WordMemory::Entry* WordMemory::add(Entry* empty, std::string_view word, std::uint64_t hash) {
  if (used_ * 2 >= entries_.size()) {
    std::vector<Entry> old(std::min(entries_.size() * 4, most_entries));
    old.swap(entries_);
    if (old.size() == most_entries) {
      used_ = 0;
      text_.clear();
      tokens_.clear();
    } else {
      for (const Entry& entry : old) {
        if (entry.length != 0) *find(std::string_view(text_).substr(entry.text, entry.length), entry.hash) = entry;
      }
    }
    empty = find(word, hash);
  }
  ++used_;
  *empty = {hash, static_cast<std::uint32_t>(text_.size()), static_cast<std::uint32_t>(tokens_.size()),
            static_cast<std::uint16_t>(word.size()), static_cast<std::uint16_t>(fresh_.size())};
  text_ += word;
  tokens_.insert(tokens_.end(), fresh_.begin(), fresh_.end());
  return empty;
}

}  // namespace monge::train
