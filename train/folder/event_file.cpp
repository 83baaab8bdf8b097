#include "train/folder/event_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <boost/crc.hpp>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/json.h"

namespace fs = std::filesystem;

namespace monge::train {
namespace {

/// A message in the protocol buffer format: fields of a number, a wire type and a value.
class Message {
 public:
  Message& integer(int field, std::uint64_t value) {
    key(field, 0);
    varint(value);
    return *this;
  }
  Message& number(int field, double value) { return raw(field, 1, value); }
  Message& number(int field, float value) { return raw(field, 5, value); }
  Message& bytes(int field, std::string_view value) {
    key(field, 2);
    varint(value.size());
    out_ += value;
    return *this;
  }
  Message& message(int field, const Message& value) { return bytes(field, value.out_); }
  const std::string& text() const { return out_; }

 private:
  void key(int field, unsigned type) { varint(static_cast<std::uint64_t>(field) << 3 | type); }
  void varint(std::uint64_t value) {
    for (; value >= 0x80; value >>= 7) out_ += static_cast<char>(value | 0x80);
    out_ += static_cast<char>(value);
  }
  template <class T>
  Message& raw(int field, unsigned type, T value) {
    key(field, type);
    out_.append(reinterpret_cast<const char*>(&value), sizeof(T));  // little-endian, as all of Monge's files
    return *this;
  }

  std::string out_;
};

std::uint32_t masked_checksum(std::string_view data) {
  boost::crc_optimal<32, 0x1EDC6F41, 0xFFFFFFFF, 0xFFFFFFFF, true, true> crc;
  crc.process_bytes(data.data(), data.size());
  const std::uint32_t sum = crc.checksum();
  return (sum >> 15 | sum << 17) + 0xA282EAD8;
}

std::string record(std::string_view data) {
  const auto bytes_of = [](auto value) { return std::string(reinterpret_cast<const char*>(&value), sizeof(value)); };
  const std::string length = bytes_of(static_cast<std::uint64_t>(data.size()));
  return length + bytes_of(masked_checksum(length)) + std::string(data) + bytes_of(masked_checksum(data));
}

// Fields of Event: 1 wall time, 2 step, 3 version, 5 summary; of a value in a summary: 1 tag, 2 number, 8 tensor, 9
// metadata.
Message event(double wall_time, std::int64_t step) {
  return Message().number(1, wall_time).integer(2, static_cast<std::uint64_t>(step));
}

double now() { return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count(); }

constexpr std::string_view prefix = "events.out.tfevents.", suffix = ".monge";

}  // namespace

EventFile::EventFile(const fs::path& folder, const fs::path& metrics, double seconds) : begin_(now() - seconds) {
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(folder, ignored)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with(prefix) && name.ends_with(suffix)) fs::remove(entry.path(), ignored);
  }
  file_ = folder / fmt::format("{}{:010}{}", prefix, static_cast<std::int64_t>(now()), suffix);
  write(Message().number(1, begin_).bytes(3, "brain.Event:2").text());
  std::ifstream in(metrics);
  for (std::string line; std::getline(in, line);) append(line);
}

void EventFile::append(std::string_view line) {
  const Json json = parse_json(line);
  if (!json.is_object() || !json.contains("step")) return;
  Message summary;
  for (const auto& [name, value] : json.items()) {
    if (name == "step" || !value.is_number()) continue;
    summary.message(1, Message().bytes(1, name).number(2, value.get<float>()));
  }
  write(event(begin_ + json.value("seconds", 0.0), json["step"].get<std::int64_t>()).message(5, summary).text());
}

void EventFile::append_text(const std::string& tag, std::int64_t step, std::string_view text) {
  constexpr std::uint64_t string_type = 7;
  const Message shape = Message().message(2, Message().integer(1, 1));
  const Message tensor = Message().integer(1, string_type).message(2, shape).bytes(8, text);
  const Message metadata = Message().message(1, Message().bytes(1, "text"));
  const Message value = Message().bytes(1, tag).message(8, tensor).message(9, metadata);
  write(event(now(), step).message(5, Message().message(1, value)).text());
}

void EventFile::write(std::string_view event) {
  const std::string bytes = record(event);
  const int fd = ::open(file_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0666);
  const bool whole = fd >= 0 && ::write(fd, bytes.data(), bytes.size()) == std::ssize(bytes);
  const int error = errno;
  if (fd >= 0) ::close(fd);
  if (!whole) throw RunError(fmt::format("cannot write '{}': {}", file_.string(), std::strerror(error)));
}

}  // namespace monge::train
