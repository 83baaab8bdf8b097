#include "train/tokenizer/unicode/pattern.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <algorithm>
#include <bitset>
#include <iterator>

#include "core/error.h"
#include "train/tokenizer/unicode/young_characters.h"
#include "train/tokenizer/utf8.h"

namespace monge::train {
namespace {

constexpr std::uint32_t most_steps = 10'000'000;  // of one match, as in Oniguruma

/// What a match needs beside the pattern; one for each thread, whatever it matches.
struct Scratch {
  pcre2_match_data* found = pcre2_match_data_create(1, nullptr);
  pcre2_match_context* context = pcre2_match_context_create(nullptr);
  pcre2_jit_stack* stack = pcre2_jit_stack_create(64 << 10, 16 << 20, nullptr);

  Scratch() {
    pcre2_set_match_limit(context, most_steps);
    pcre2_jit_stack_assign(context, nullptr, stack);
  }
  ~Scratch() {
    pcre2_jit_stack_free(stack);
    pcre2_match_context_free(context);
    pcre2_match_data_free(found);
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
};

std::string message_of(int error) {
  PCRE2_UCHAR8 text[256];
  pcre2_get_error_message(error, text, sizeof(text));
  return reinterpret_cast<const char*>(text);
}

/// What Oniguruma reads otherwise than PCRE2, at the start of `rest`; empty: nothing.
std::string_view read_differently(std::string_view rest) {
  if (rest[0] == '\\' && rest.size() > 1) {
    if (std::string_view("hHwWbBXRKGOoNCQEUuLlyY").find(rest[1]) != std::string_view::npos) return rest.substr(0, 2);
  }
  for (const std::string_view other : {"&&", "[[:", "[^[:", "\\p{^", "(*"}) {
    if (rest.starts_with(other)) return other;
  }
  // x{2}? and x{1,3}+: an optional and a repeated interval there.
  const std::size_t end = rest[0] == '{' ? rest.find_first_not_of("0123456789,", 1) : std::string_view::npos;
  if (end != std::string_view::npos && end > 1 && rest[end] == '}') {
    const std::string_view interval = rest.substr(0, end + 2);
    const bool exact = interval.find(',') == std::string_view::npos;
    if (interval.ends_with('+') || (exact && interval.ends_with('?'))) return interval;
  }
  return {};
}

/// The entry of a sorted table that holds a character; null: none does.
const StandIn* stand_in_of(char32_t character) {
  static const auto blocks = [] {
    std::bitset<0x1100> out;
    for (const StandIn& entry : stand_ins) {
      for (char32_t block = entry.first >> 8; block <= entry.last >> 8; ++block) out.set(block);
    }
    return out;
  }();
  if (!blocks[character >> 8]) return nullptr;
  const auto* after = std::ranges::upper_bound(stand_ins, character, {}, &StandIn::first);
  return after != std::begin(stand_ins) && character <= std::prev(after)->last ? std::prev(after) : nullptr;
}

/// `text`, or a copy in `storage` in which PCRE2 knows the category of every character.
std::string_view with_known_characters(std::string_view text, std::string& storage) {
  for (std::size_t at = 0; at < text.size(); ++at) {
    if (static_cast<unsigned char>(text[at]) < 0xE0) continue;
    const CodePoint character = code_point_at(text, at);
    if (const StandIn* entry = stand_in_of(character.value)) {
      if (storage.empty()) storage = text;
      std::string bytes;
      append_utf8(bytes, entry->like);
      storage.replace(at, character.bytes, bytes);
    }
    at += character.bytes - 1;
  }
  return storage.empty() ? text : storage;
}

}  // namespace

struct Pattern::Code {
  pcre2_code* compiled = nullptr;
  ~Code() { pcre2_code_free(compiled); }
};

Pattern::Pattern(std::string expression, std::string place)
    : expression_(std::move(expression)), place_(std::move(place)) {
  const auto refuse = [&](const std::string& problem) {
    throw InputError(fmt::format("{}: the pattern '{}' {}", place_, expression_, problem));
  };
  for (std::size_t i = 0; i < expression_.size(); ++i) {
    const auto found = read_differently(std::string_view(expression_).substr(i));
    if (!found.empty()) {
      refuse(
          fmt::format("has '{}' at byte {}, which is not supported: the regular expressions of `tokenizers` and "
                      "PCRE2 differ there; write it with \\p{{..}}, \\s, \\d, \\r, \\n or a plain [..]",
                      found, i));
    }
    if (expression_[i] == '\\') i += expression_.compare(i + 1, 2, "x{") == 0 ? 2 : 1;  // a code point, no interval
  }
  int error = 0;
  std::size_t at = 0;
  auto code = std::make_shared<Code>();
  auto* context = pcre2_compile_context_create(nullptr);
  pcre2_set_newline(context, PCRE2_NEWLINE_LF);
  pcre2_set_parens_nest_limit(context, 100);
  code->compiled = pcre2_compile(reinterpret_cast<PCRE2_SPTR8>(expression_.data()), expression_.size(),
                                 PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE, &error, &at, context);
  pcre2_compile_context_free(context);
  if (code->compiled == nullptr) refuse(fmt::format("is no regular expression: {}, at byte {}", message_of(error), at));
  pcre2_jit_compile(code->compiled, PCRE2_JIT_COMPLETE);  // where the system forbids it, matching is slower
  code_ = std::move(code);
}

std::string Pattern::escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (std::string_view("\\^$.|?*+()[]{}-&#").find(c) != std::string_view::npos) out += '\\';
    out += c;
  }
  return out;
}

void Pattern::split(std::string_view text, const std::function<void(std::size_t, std::size_t, bool)>& piece) const {
  thread_local Scratch scratch;
  std::string storage;
  const std::string_view subject = with_known_characters(text, storage);
  std::size_t done = 0, from = 0;
  bool before = false;  // whether a match ends at `done`
  while (from <= subject.size()) {
    const int result = pcre2_match(code_->compiled, reinterpret_cast<PCRE2_SPTR8>(subject.data()), subject.size(), from,
                                   PCRE2_NO_UTF_CHECK, scratch.found, scratch.context);
    if (result == PCRE2_ERROR_NOMATCH) break;
    if (result < 0) {
      throw InputError(
          fmt::format("{}: the pattern '{}' cannot be matched at byte {} of a piece of {} bytes: {}; "
                      "write it without repetitions inside repetitions",
                      place_, expression_, from, text.size(), message_of(result)));
    }
    const std::size_t* const bounds = pcre2_get_ovector_pointer(scratch.found);
    const std::size_t begin = bounds[0], end = bounds[1];
    if (begin == end && before && end == done) {  // nothing after a match: look from the next character on
      from = end + (end < subject.size() ? code_point_at(subject, end).bytes : 1);
      continue;
    }
    if (begin > done) piece(done, begin, false);
    piece(begin, end, true);
    done = from = end;
    before = true;
  }
  if (done < text.size()) piece(done, text.size(), false);
}

}  // namespace monge::train
