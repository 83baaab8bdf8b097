#include "core/safetensors.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>

#include "core/backend.h"
#include "core/error.h"
#include "core/json.h"

namespace monge {
namespace {

static_assert(std::endian::native == std::endian::little, "the format is little-endian");

constexpr std::size_t length_bytes = 8;
constexpr const char* metadata_key = "__metadata__";

/// The dtypes of the format, and as what they are loaded; those without a DType can be skipped over but not loaded.
struct FileType {
  std::string_view name;
  std::size_t size;
  std::optional<DType> dtype;
};
constexpr std::array<FileType, 15> file_types{{{"F64", 8, DType::f64},
                                               {"F32", 4, DType::f32},
                                               {"BF16", 2, DType::bf16},
                                               {"I32", 4, DType::i32},
                                               {"I64", 8, {}},
                                               {"U64", 8, {}},
                                               {"U32", 4, {}},
                                               {"F16", 2, DType::f32},
                                               {"I16", 2, {}},
                                               {"U16", 2, {}},
                                               {"I8", 1, {}},
                                               {"U8", 1, {}},
                                               {"BOOL", 1, {}},
                                               {"F8_E4M3", 1, {}},
                                               {"F8_E5M2", 1, {}}}};

const FileType& file_type(std::string_view name) {
  const auto found = std::ranges::find(file_types, name, &FileType::name);
  if (found == file_types.end()) throw InputError(fmt::format("dtype '{}' does not exist", name));
  return *found;
}

std::string_view file_type_name(DType dtype) { return std::ranges::find(file_types, dtype, &FileType::dtype)->name; }

Shape shape_from(const std::vector<std::uint64_t>& sizes) {
  if (sizes.size() > Shape::max_rank) {
    throw InputError(fmt::format("{} dimensions, at most {} are possible", sizes.size(), Shape::max_rank));
  }
  std::array<std::int64_t, Shape::max_rank> s{};
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    // Far beyond any file, and small enough that the product below cannot overflow unseen.
    if (sizes[i] > std::uint64_t{1} << 48) throw InputError(fmt::format("a dimension of {}", sizes[i]));
    s[i] = static_cast<std::int64_t>(sizes[i]);
  }
  switch (sizes.size()) {
    case 0: return {};
    case 1: return {s[0]};
    case 2: return {s[0], s[1]};
    case 3: return {s[0], s[1], s[2]};
    case 4: return {s[0], s[1], s[2], s[3]};
    default: return {s[0], s[1], s[2], s[3], s[4]};
  }
}

/// Bytes of a tensor, or nothing when they would not fit in `limit`.
std::optional<std::size_t> byte_count(const Shape& shape, std::size_t element, std::size_t limit) {
  std::size_t bytes = element;
  for (int i = 0; i < shape.rank(); ++i) {
    const auto size = static_cast<std::size_t>(shape[i]);
    if (size == 0) return 0;
    if (bytes > limit / size) return std::nullopt;
    bytes *= size;
  }
  return bytes <= limit ? std::optional(bytes) : std::nullopt;
}

/// Half precision (IEEE 754), which numbers are stored in but not computed with.
struct Half {
  std::uint16_t bits;

  explicit operator double() const {
    const int exponent = bits >> 10 & 0x1f, fraction = bits & 0x3ff;
    const double sign = (bits & 0x8000) != 0 ? -1.0 : 1.0;
    if (exponent == 0x1f) return fraction != 0 ? std::numeric_limits<double>::quiet_NaN() : sign * HUGE_VAL;
    return sign * (exponent == 0 ? std::ldexp(fraction, -24) : std::ldexp(0x400 + fraction, exponent - 25));
  }
};

std::vector<double> to_doubles(std::span<const std::byte> bytes, const FileType& type) {
  std::vector<double> values(bytes.size() / type.size);
  const auto decode = [&]<class T>(T element) {
    for (std::size_t i = 0; i < values.size(); ++i) {
      std::memcpy(&element, bytes.data() + i * sizeof(T), sizeof(T));
      if constexpr (std::is_same_v<T, bf16>) {
        values[i] = static_cast<float>(element);
      } else {
        values[i] = static_cast<double>(element);
      }
    }
  };
  switch (*type.dtype) {
    case DType::f32: type.size == sizeof(Half) ? decode(Half{}) : decode(float{}); break;
    case DType::bf16: decode(bf16{}); break;
    case DType::i32: decode(std::int32_t{}); break;
    case DType::f64: decode(double{}); break;
  }
  return values;
}

/// An open file that closes itself.
class FileHandle {
 public:
  explicit FileHandle(int fd) : fd_(fd) {}
  ~FileHandle() {
    if (fd_ >= 0) ::close(fd_);
  }
  FileHandle(const FileHandle&) = delete;
  FileHandle& operator=(const FileHandle&) = delete;
  bool ok() const { return fd_ >= 0; }
  int get() const { return fd_; }
  /// Closing can report a delayed write error.
  bool close() { return ::close(std::exchange(fd_, -1)) == 0; }

 private:
  int fd_;
};

std::string reason() { return std::strerror(errno); }

}  // namespace

SafeTensors::SafeTensors(const std::filesystem::path& file) : file_(file) {
  // A pipe is refused below rather than waited for.
  const FileHandle handle(::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  struct stat status {};
  if (!handle.ok() || ::fstat(handle.get(), &status) != 0) {
    throw InputError(fmt::format("cannot read '{}': {}", file.string(), reason()));
  }
  if (!S_ISREG(status.st_mode)) throw InputError(fmt::format("cannot read '{}': it is not a file", file.string()));
  const auto size = static_cast<std::size_t>(status.st_size);
  try {
    if (size < length_bytes) throw InputError(fmt::format("{} bytes are too few", size));
    void* address = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, handle.get(), 0);
    if (address == MAP_FAILED) throw InputError(reason());
    mapping_ = {static_cast<const std::byte*>(address), [size](const std::byte* p) {
                  ::munmap(const_cast<std::byte*>(p), size);  // NOLINT: munmap takes a plain pointer
                }};
    parse({mapping_.get(), size});
  } catch (const InputError& e) {
    throw InputError(fmt::format("'{}' is not a whole safetensors file: {}", file.string(), e.what()));
  } catch (const Json::exception& e) {
    throw InputError(fmt::format("'{}' is not a whole safetensors file: its header: {}", file.string(), e.what()));
  }
}

void SafeTensors::parse(std::span<const std::byte> content) {
  std::uint64_t length = 0;
  std::memcpy(&length, content.data(), length_bytes);
  const auto rest = content.subspan(length_bytes);
  if (length > rest.size()) {
    throw InputError(fmt::format("the header should have {} bytes, {} follow", length, rest.size()));
  }
  const auto* text = reinterpret_cast<const char*>(rest.data());
  const auto data = rest.subspan(length);
  const auto header = parse_json({text, length});
  if (header.is_discarded()) throw InputError("its header is not JSON");
  if (!header.is_object()) throw InputError("its header is not a JSON object");

  for (const auto& [name, description] : header.items()) {
    if (name == metadata_key) {
      metadata_ = description.get<std::map<std::string, std::string>>();
      continue;
    }
    try {
      const auto dtype = description.at("dtype").get<std::string>();
      const Shape shape = shape_from(description.at("shape").get<std::vector<std::uint64_t>>());
      const auto [begin, end] = description.at("data_offsets").get<std::array<std::uint64_t, 2>>();
      if (begin > end || end > data.size()) {
        throw InputError(fmt::format("bytes [{}, {}) of {}", begin, end, data.size()));
      }
      if (byte_count(shape, file_type(dtype).size, end - begin) != end - begin) {
        throw InputError(fmt::format("{} bytes for {} {}", end - begin, dtype, shape));
      }
      entries_[name] = {dtype, shape, data.subspan(begin, end - begin)};
    } catch (const InputError& e) {
      throw InputError(fmt::format("tensor '{}': {}", name, e.what()));
    }
  }

  // The format allows neither gaps nor overlaps, so a damaged offset or a cut-off tail shows here.
  std::vector<std::span<const std::byte>> ranges;
  for (const auto& [name, entry] : entries_) ranges.push_back(entry.bytes);
  std::ranges::sort(ranges, {}, [](const auto& r) { return std::pair(r.data(), r.size()); });
  const std::byte* expected = data.data();
  for (const auto& range : ranges) {
    if (range.data() != expected) throw InputError("its tensors overlap or leave a gap");
    expected += range.size();
  }
  if (expected != data.data() + data.size()) {
    throw InputError(fmt::format("{} bytes follow the last tensor", data.data() + data.size() - expected));
  }
}

const SafeTensors::Entry& SafeTensors::entry(const std::string& name) const {
  const auto found = entries_.find(name);
  if (found == entries_.end()) {
    throw InputError(fmt::format("'{}' has no tensor '{}' ({} others)", file_.string(), name, entries_.size()));
  }
  return found->second;
}

DType SafeTensors::dtype_of(const std::string& name) const {
  const auto dtype = file_type(entry(name).dtype).dtype;
  if (!dtype) {
    throw InputError(fmt::format("tensor '{}' of '{}' is {}; allowed: F32, BF16, F16, I32, F64", name, file_.string(),
                                 entry(name).dtype));
  }
  return *dtype;
}

Tensor SafeTensors::tensor(const std::string& name, Device device, Pool pool) const {
  DType dtype = dtype_of(name);
  const bool on_reference = device.kind == DeviceKind::reference;
  if (is_floating(dtype) && on_reference != (dtype == DType::f64)) dtype = backend_of(device).default_float();
  Tensor out = Tensor::empty(entry(name).shape, dtype, device, pool);
  read(name, out);
  return out;
}

void SafeTensors::read(const std::string& name, const Tensor& to) const {
  const Entry& from = entry(name);
  const DType dtype = dtype_of(name);
  if (from.shape != to.shape()) {
    throw InputError(fmt::format("tensor '{}' of '{}' has shape {}, but {} is needed", name, file_.string(), from.shape,
                                 to.shape()));
  }
  if (is_floating(dtype) != is_floating(to.dtype())) {
    throw InputError(fmt::format("tensor '{}' of '{}' is {}, which does not convert to {}", name, file_.string(),
                                 from.dtype, name_of(to.dtype())));
  }
  if (to.numel() == 0) return;
  if (dtype == to.dtype() && from.bytes.size() == to.bytes()) {
    to.backend().copy_from_host({.from = from.bytes.data(), .to = to});
    return;
  }
  const Tensor converted =
      Tensor::from(to_doubles(from.bytes, file_type(from.dtype)), to.shape(), to.dtype(), to.device(), Pool::scratch);
  to.backend().copy({.from = converted, .to = to});
}

namespace {

/// What is written first: the length and the JSON, padded with spaces so that the data starts at a multiple of 8.
std::string header_of(std::span<const NamedTensor* const> tensors, const std::map<std::string, std::string>& metadata) {
  Json header = Json::object();
  if (!metadata.empty()) header[metadata_key] = metadata;
  std::size_t offset = 0;
  for (const NamedTensor* t : tensors) {
    require(t->name != metadata_key && !header.contains(t->name), "[safetensors] tensor '{}' is given twice", t->name);
    std::vector<std::int64_t> sizes;
    for (int i = 0; i < t->value.rank(); ++i) sizes.push_back(t->value.size(i));
    header[t->name] = {{"dtype", file_type_name(t->value.dtype())},
                       {"shape", sizes},
                       {"data_offsets", {offset, offset + t->value.bytes()}}};
    offset += t->value.bytes();
  }
  std::string text = json_text(header);
  text.append((length_bytes - text.size() % length_bytes) % length_bytes, ' ');
  const std::uint64_t length = text.size();
  return std::string(reinterpret_cast<const char*>(&length), length_bytes) + text;
}

}  // namespace

void write_safetensors(const std::filesystem::path& file, std::span<const NamedTensor> tensors,
                       const std::map<std::string, std::string>& metadata) {
  // Wide elements first, so that every tensor of the file is aligned.
  std::vector<const NamedTensor*> order;
  for (const NamedTensor& t : tensors) order.push_back(&t);
  std::ranges::stable_sort(order, std::greater{}, [](const NamedTensor* t) { return size_of(t->value.dtype()); });
  const std::string header = header_of(order, metadata);

  const std::filesystem::path beside = file.string() + ".partial";
  const auto fail = [&](const std::string& why) {
    std::error_code ignored;
    std::filesystem::remove(beside, ignored);
    throw RunError(fmt::format("cannot write '{}': {}", file.string(), why));
  };
  FileHandle handle(::open(beside.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666));
  if (!handle.ok()) fail(reason());
  const auto write = [&](std::span<const char> bytes) {
    while (!bytes.empty()) {
      const ssize_t n = ::write(handle.get(), bytes.data(), bytes.size());
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) fail(reason());
      bytes = bytes.subspan(static_cast<std::size_t>(n));
    }
  };
  write(header);
  std::vector<char> host;
  for (const NamedTensor* t : order) {
    if (t->value.numel() == 0) continue;
    host.resize(t->value.bytes());
    t->value.backend().copy_to_host({.from = t->value, .to = host.data()});
    write(host);
  }
  if (::fsync(handle.get()) != 0 || !handle.close()) fail(reason());
  if (::rename(beside.c_str(), file.c_str()) != 0) fail(reason());

  // The rename itself survives a power cut only when the directory is flushed too. Some file systems refuse; the file
  // is whole either way.
  const auto folder = file.parent_path().empty() ? std::filesystem::path(".") : file.parent_path();
  const FileHandle directory(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (directory.ok()) ::fsync(directory.get());
}

}  // namespace monge
