#include "train/tokenizer/hf/added_tokens.h"

#include <algorithm>
#include <unordered_set>

#include "core/error.h"
#include "train/tokenizer/unicode/normal_form.h"
#include "train/tokenizer/utf8.h"

namespace monge::train::hf {

std::size_t WordFinder::child(std::size_t node, char c) const {
  const auto& next = nodes_[node].next;
  if (next.size() == 1) return next[0].first == c ? next[0].second : none;  // most of them
  const auto found = std::ranges::lower_bound(next, c, {}, &std::pair<char, std::size_t>::first);
  return found != next.end() && found->first == c ? found->second : none;
}

void WordFinder::add(std::string_view word, std::size_t index) {
  if (word.empty()) return;
  if (nodes_.empty()) nodes_.emplace_back();
  std::size_t node = 0;
  for (const char c : word) {
    std::size_t next = child(node, c);
    if (next == none) {
      next = nodes_.size();
      auto& children = nodes_[node].next;
      children.insert(std::ranges::lower_bound(children, c, {}, &std::pair<char, std::size_t>::first), {c, next});
      nodes_.emplace_back();
    }
    if (node == 0) first_[static_cast<unsigned char>(c)] = next;
    node = next;
  }
  if (nodes_[node].index == none) nodes_[node].index = index;
}

WordFinder::Found WordFinder::find(std::string_view text, std::size_t from) const {
  for (std::size_t at = from; at < text.size(); ++at) {
    std::size_t node = first_[static_cast<unsigned char>(text[at])];
    if (node == 0) continue;
    Found found{at, at, none};
    for (std::size_t i = at + 1; node != none; ++i) {
      if (nodes_[node].index != none) found = {at, i, nodes_[node].index};
      if (i == text.size()) break;
      node = child(node, text[i]);
    }
    if (found.index != none) return found;
  }
  return {text.size(), text.size(), none};
}

AddedTokens::AddedTokens(const JsonPlace& place, const BpeModel& model, const Normalizer* normalizer) {
  // Ids follow from the order, as in `tokenizers`, which does not look at those in the file.
  auto next = static_cast<std::int32_t>(model.size());
  std::unordered_set<std::string> seen;
  for (std::size_t i = 0; i < place.list().size(); ++i) {
    const JsonPlace entry = place.at(i);
    entry.only({"id", "content", "single_word", "lstrip", "rstrip", "normalized", "special"});
    Token token{.content = entry.at("content").text(),
                .id = static_cast<std::int32_t>(entry.at("id").number((1 << 24) - 1)),
                .single_word = entry.flag("single_word", false),
                .lstrip = entry.flag("lstrip", false),
                .rstrip = entry.flag("rstrip", false),
                .normalized = entry.flag("normalized", !entry.flag("special", false))};
    if (token.content.empty()) entry.at("content").refuse("is empty");
    if (!seen.insert(token.content).second) {
      entry.at("content").refuse(fmt::format("'{}' is there twice", token.content));
    }
    const std::int32_t in_model = model.id(token.content);
    const std::int32_t due = in_model >= 0 ? in_model : next;
    if (token.id != due) {
      entry.at("id").refuse(fmt::format("the token '{}' has the id {}, but {} by {}; write the id that it gets",
                                        token.content, token.id, due,
                                        in_model >= 0 ? "model.vocab" : "the number of tokens before it"));
    }
    next = std::max(next, token.id + 1);
    if (token.normalized && normalizer != nullptr) token.content = normalizer->apply(std::move(token.content));
    (token.normalized ? in_normalized_ : as_given_).add(token.content, i);
    tokens_.push_back(std::move(token));
  }
}

void AddedTokens::split(std::string_view text, bool normalized, const Part& part) const {
  const WordFinder& finder = normalized ? in_normalized_ : as_given_;
  std::size_t done = 0;
  if (!finder.empty()) {
    for (std::size_t from = 0;;) {
      const auto [found, behind, index] = finder.find(text, from);
      if (found == text.size()) break;
      from = behind;
      const Token& token = tokens_[index];
      std::size_t begin = found, end = behind;
      const auto word_before = [&] {
        return begin > 0 && is_word_character(code_point_at(text, last_code_point(text.substr(0, begin))).value);
      };
      const auto word_behind = [&] { return end < text.size() && is_word_character(code_point_at(text, end).value); };
      if (token.single_word && (word_before() || word_behind())) continue;
      while (token.lstrip && begin > done) {
        const std::size_t last = last_code_point(text.substr(0, begin));
        if (last < done || !is_white_space(code_point_at(text, last).value)) break;
        begin = last;
      }
      while (token.rstrip && end < text.size()) {
        const CodePoint next = code_point_at(text, end);
        if (!is_white_space(next.value)) break;
        end += next.bytes;
      }
      if (done < begin) part(done, begin, nullptr);
      part(begin, end, &token);
      done = end;
    }
  }
  if (done < text.size()) part(done, text.size(), nullptr);
}

}  // namespace monge::train::hf
