#include "train/data/token_store.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <limits>
#include <system_error>

#include "train/checkpoint/checksum.h"

namespace monge::train {
namespace {

constexpr std::array<char, 8> magic = {'M', 'O', 'N', 'G', 'E', 'T', 'O', 'K'};
constexpr std::uint32_t version = 2;  // 1: bpe cut words by ASCII

struct Header {
  std::array<char, 8> magic;
  std::uint32_t version;
  std::uint32_t token_bytes;
  std::uint64_t key;
  std::uint64_t tokenizer_bytes;
  std::uint64_t tokens;
};
static_assert(sizeof(Header) == 40);

std::uint64_t padded(std::uint64_t bytes) { return (bytes + 7) / 8 * 8; }

std::string system_message() { return std::error_code(errno, std::generic_category()).message(); }

bool write_all(int file, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(file, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(written));
  }
  return true;
}

}  // namespace

TokenStore::TokenStore(const Tokenizer& tokenizer, std::span<const std::int32_t> tokens, std::uint64_t key) {
  const std::string json = tokenizer.save();
  const std::uint32_t token_bytes = tokenizer.vocab() <= std::numeric_limits<std::uint16_t>::max() + 1 ? 2 : 4;
  const auto image = std::make_shared<std::string>();
  const auto append = [&](const void* value, std::size_t bytes) {
    image->append(static_cast<const char*>(value), bytes);
  };
  image->reserve(sizeof(Header) + padded(json.size()) + tokens.size() * token_bytes + sizeof(std::uint64_t));
  const Header header{.magic = magic,
                      .version = version,
                      .token_bytes = token_bytes,
                      .key = key,
                      .tokenizer_bytes = json.size(),
                      .tokens = tokens.size()};
  append(&header, sizeof(header));
  *image += json;
  image->resize(sizeof(header) + padded(json.size()), '\0');
  for (const std::int32_t token : tokens) {
    const auto narrow = static_cast<std::uint16_t>(token);
    append(token_bytes == 2 ? static_cast<const void*>(&narrow) : &token, token_bytes);
  }
  const std::uint64_t sum = checksum(*image);
  append(&sum, sizeof(sum));
  image_ = *image;
  owner_ = image;
  require(parse(key), "token store: tokenizer '{}' cannot be read back from what it saves", tokenizer.kind());
}

std::optional<TokenStore> TokenStore::open(const std::string& path, std::uint64_t key) {
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) return std::nullopt;
  struct stat status {};
  void* mapped = MAP_FAILED;
  if (::fstat(file, &status) == 0 && S_ISREG(status.st_mode) && status.st_size > 0) {
    mapped = ::mmap(nullptr, static_cast<std::size_t>(status.st_size), PROT_READ, MAP_PRIVATE, file, 0);
  }
  ::close(file);
  if (mapped == MAP_FAILED) return std::nullopt;

  const auto bytes = static_cast<std::size_t>(status.st_size);
  TokenStore store;
  store.owner_ = std::shared_ptr<const void>(mapped, [bytes](const void* p) { ::munmap(const_cast<void*>(p), bytes); });
  store.image_ = {static_cast<const char*>(mapped), bytes};
  if (!store.parse(key)) return std::nullopt;
  return store;
}

bool TokenStore::parse(std::uint64_t key) {
  Header header{};
  std::uint64_t sum = 0;
  if (image_.size() < sizeof(header) + sizeof(sum)) return false;
  const std::string_view summed = image_.substr(0, image_.size() - sizeof(sum));
  std::memcpy(&header, image_.data(), sizeof(header));
  std::memcpy(&sum, image_.data() + summed.size(), sizeof(sum));
  if (header.magic != magic || header.version != version || header.key != key || sum != checksum(summed)) return false;

  const std::string_view body = summed.substr(sizeof(header));
  try {
    tokenizer_ = load_tokenizer(body.substr(0, header.tokenizer_bytes));
  } catch (const InputError&) {
    return false;  // of a kind that this program does not have
  }
  tokens_ = reinterpret_cast<const std::byte*>(body.data()) + padded(header.tokenizer_bytes);
  token_bytes_ = header.token_bytes;
  size_ = static_cast<std::int64_t>(header.tokens);
  return true;
}

std::string TokenStore::save(const std::string& path) const {
  const std::filesystem::path folder = std::filesystem::path(path).parent_path();
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) return error.message();

  std::string beside = path + ".XXXXXX";
  const int file = ::mkstemp(beside.data());
  if (file < 0) return system_message();
  std::string problem;
  // No fsync: what a power cut leaves is found broken by its checksum and made again.
  if (!write_all(file, image_)) problem = system_message();
  if (::close(file) != 0 && problem.empty()) problem = system_message();
  if (problem.empty() && ::rename(beside.c_str(), path.c_str()) != 0) problem = system_message();
  if (!problem.empty()) ::unlink(beside.c_str());
  return problem;
}

void TokenStore::read(std::int64_t begin, std::span<std::int32_t> out) const {
  const auto count = static_cast<std::int64_t>(out.size());
  require(begin >= 0 && begin + count <= size_, "token store: tokens {} .. {} of {}", begin, begin + count, size_);
  // The header and the padded JSON keep the tokens aligned.
  if (token_bytes_ == 2) {
    std::copy_n(reinterpret_cast<const std::uint16_t*>(tokens_) + begin, count, out.begin());
  } else {
    std::copy_n(reinterpret_cast<const std::int32_t*>(tokens_) + begin, count, out.begin());
  }
}

}  // namespace monge::train
