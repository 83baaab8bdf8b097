#include "train/tokenizer/byte_tokenizer.h"

namespace monge::train {
namespace {

class ByteTokenizer : public Tokenizer {
 public:
  std::string kind() const override { return "byte"; }
  std::int64_t vocab() const override { return 256; }

  std::vector<std::int32_t> encode(std::string_view text) const override {
    const auto* bytes = reinterpret_cast<const unsigned char*>(text.data());
    return {bytes, bytes + text.size()};
  }

  std::string decode(const std::vector<std::int32_t>& ids) const override {
    std::string text;
    text.reserve(ids.size());
    for (const std::int32_t id : ids) {
      if (id < 0 || id > 255) throw InputError(fmt::format("token id {} is no byte; allowed: 0 .. 255", id));
      text += static_cast<char>(id);
    }
    return text;
  }

  std::string save() const override { return R"({"kind":"byte"})"; }
};

}  // namespace

std::unique_ptr<Tokenizer> make_byte_tokenizer(const NoOptions&, std::string_view) {
  return std::make_unique<ByteTokenizer>();
}

}  // namespace monge::train
