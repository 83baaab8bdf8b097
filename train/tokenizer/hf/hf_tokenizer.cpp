#include "train/tokenizer/hf/hf_tokenizer.h"

#include <algorithm>
#include <filesystem>
#include <functional>

#include "core/json.h"
#include "train/checkpoint/checksum.h"
#include "train/console/slow_work.h"
#include "train/tokenizer/hf/gpt2_files.h"
#include "train/tokenizer/utf8.h"

namespace monge::train {
namespace {

using hf::AddedTokens;

/// Only what encoders add around a text, which training data does not get, depends on it: it is read to be understood.
void check_post_processor(const JsonPlace& place) {
  const std::string& type = place.at("type").text();
  if (type == "Sequence") {
    const JsonPlace steps = place.at("processors");
    for (std::size_t i = 0; i < steps.list().size(); ++i) check_post_processor(steps.at(i));
  } else if (type != "ByteLevel" && type != "TemplateProcessing" && type != "BertProcessing" &&
             type != "RobertaProcessing") {
    place.refuse(
        fmt::format("the post-processor '{}' is not supported; allowed: ByteLevel, TemplateProcessing, "
                    "BertProcessing, RobertaProcessing, Sequence",
                    type));
  }
}

/// What a folder or file holds: a tokenizer.json, or the two files of GPT-2.
bool has_gpt2_files(const std::string& path) {
  std::error_code error;
  return std::filesystem::is_directory(path, error) && !std::filesystem::exists(path + "/tokenizer.json", error);
}

std::string json_file(const std::string& path) {
  std::error_code error;
  return std::filesystem::is_directory(path, error) ? path + "/tokenizer.json" : path;
}

}  // namespace

HfTokenizer::HfTokenizer(std::string_view json, const std::string& file)
    : HfTokenizer(JsonPlace(JsonPlace::parse(json, file), file)) {}

HfTokenizer::HfTokenizer(const JsonPlace& root) : json_(root.value().dump(-1, ' ', /*ensure_ascii=*/true)) {
  root.only({"version", "truncation", "padding", "added_tokens", "normalizer", "pre_tokenizer", "post_processor",
             "decoder", "model"});
  for (const char* key : {"truncation", "padding"}) {
    if (const auto given = root.find(key)) given->refuse("is not supported; write null: texts are taken as they are");
  }
  if (const auto place = root.find("normalizer")) normalizer_ = hf::make_normalizer(*place);
  if (const auto place = root.find("pre_tokenizer")) pre_tokenizer_ = hf::make_pre_tokenizer(*place);
  if (const auto place = root.find("post_processor")) check_post_processor(*place);
  if (const auto place = root.find("decoder")) decoder_ = hf::make_decoder(*place);
  model_.emplace(root.at("model"), pre_tokenizer_ != nullptr && pre_tokenizer_->bytes());
  if (const auto place = root.find("added_tokens")) added_ = AddedTokens(*place, *model_, normalizer_.get());

  tokens_ = model_->tokens();
  for (const AddedTokens::Token& token : added_.tokens()) {
    const auto at = static_cast<std::size_t>(token.id);
    if (at >= tokens_.size()) tokens_.resize(at + 1);
    tokens_[at] = token.content;
  }
  if (tokens_.empty()) root.at("model").at("vocab").refuse("is empty");
}

std::vector<std::int32_t> HfTokenizer::encode(std::string_view text) const {
  check_utf8(text);
  std::vector<std::int32_t> ids;
  WordMemory memory;
  SlowWork encoding("hf: encoding, bytes", static_cast<double>(text.size()));
  double done = 0.0;
  const hf::PreTokenizer::Piece encode_piece = [&](std::string_view piece, bool) {
    if (piece.empty()) return;
    model_->encode(piece, memory, ids);
    done += static_cast<double>(piece.size());
    encoding.reached(std::min(done, static_cast<double>(text.size())));
  };
  added_.split(text, /*normalized=*/false, [&](std::size_t begin, std::size_t end, const AddedTokens::Token* token) {
    if (token != nullptr) {
      ids.push_back(token->id);
      return;
    }
    std::string_view part = text.substr(begin, end - begin);
    std::string storage;
    if (normalizer_ != nullptr) part = storage = normalizer_->apply(std::string(part));
    added_.split(part, /*normalized=*/true, [&](std::size_t from, std::size_t to, const AddedTokens::Token* inner) {
      if (inner != nullptr) {
        ids.push_back(inner->id);
      } else if (pre_tokenizer_ == nullptr) {
        encode_piece(part.substr(from, to - from), false);
      } else {
        pre_tokenizer_->split(part.substr(from, to - from), begin == 0 && from == 0, encode_piece);
      }
    });
  });
  return ids;
}

std::string HfTokenizer::decode(const std::vector<std::int32_t>& ids) const {
  std::vector<std::string> tokens;
  for (const std::int32_t id : ids) {
    if (id < 0 || id >= vocab()) {
      throw InputError(fmt::format("token id {} is not in the vocabulary; allowed: 0 .. {}", id, vocab() - 1));
    }
    const std::string& token = tokens_[static_cast<std::size_t>(id)];
    if (!token.empty()) tokens.push_back(token);
  }
  if (decoder_ != nullptr) {
    decoder_->apply(tokens);
    return fmt::format("{}", fmt::join(tokens, ""));
  }
  return fmt::format("{}", fmt::join(tokens, " "));
}

std::string HfTokenizer::save() const { return json_text({{"kind", kind()}, {"json", json_}}); }

void HfOptions::fields(Fields& f) {
  f("path", path,
    {.doc = "a tokenizer.json, or a folder with one or with vocab.json and merges.txt of GPT-2", .required = true});
}

std::uint64_t HfOptions::content() const {
  try {
    if (has_gpt2_files(path)) {
      return checksum(hf::read_file(path + "/vocab.json") + "\n" + hf::read_file(path + "/merges.txt"));
    }
    return checksum(hf::read_file(json_file(path)));
  } catch (const InputError&) {
    return 0;
  }
}

std::unique_ptr<Tokenizer> make_hf_tokenizer(const HfOptions& options, std::string_view) {
  if (has_gpt2_files(options.path)) {
    const std::string made = hf::read_gpt2_files(options.path).dump(-1, ' ', /*ensure_ascii=*/true);
    return std::make_unique<HfTokenizer>(made, options.path);
  }
  const std::string file = json_file(options.path);
  return std::make_unique<HfTokenizer>(hf::read_file(file), file);
}

std::unique_ptr<Tokenizer> load_hf_tokenizer(const NoOptions&, std::string_view json) {
  const Json saved = parse_json(json);
  if (!saved.is_object() || !saved.contains("json") || !saved["json"].is_string()) {
    throw InputError("a saved hf tokenizer must hold its tokenizer.json as text in \"json\"");
  }
  return std::make_unique<HfTokenizer>(saved["json"].get<std::string>(), "the saved tokenizer");
}

}  // namespace monge::train
