// The events of a run, decoded by the format's description.
#include "train/folder/event_file.h"

#include <boost/crc.hpp>
#include <filesystem>
#include <map>

#include "support/tiny_run.h"

namespace monge::train {
namespace {

namespace fs = std::filesystem;

template <class T>
T take(std::string_view& from) {
  T value{};
  std::memcpy(&value, from.data(), sizeof(T));
  from.remove_prefix(sizeof(T));
  return value;
}

std::uint64_t take_varint(std::string_view& from) {
  std::uint64_t value = 0;
  for (int shift = 0;; shift += 7) {
    const auto byte = take<std::uint8_t>(from);
    value |= static_cast<std::uint64_t>(byte & 0x7f) << shift;
    if (byte < 0x80) return value;
  }
}

/// The fields of a message, by their numbers: integers as they are, the others as bytes.
std::multimap<std::uint64_t, std::string> fields_of(std::string_view message) {
  std::multimap<std::uint64_t, std::string> out;
  while (!message.empty()) {
    const std::uint64_t key = take_varint(message), type = key & 7;
    std::string value;
    if (type == 0) {
      value = std::to_string(take_varint(message));
    } else {
      const std::size_t size = type == 1 ? 8 : type == 5 ? 4 : take_varint(message);
      value = message.substr(0, size);
      message.remove_prefix(size);
    }
    out.emplace(key >> 3, value);
  }
  return out;
}

std::string field(std::string_view message, std::uint64_t number) {
  const auto all = fields_of(message);
  const auto found = all.find(number);
  return found == all.end() ? "" : found->second;
}

void expect_checksum(std::string_view data, std::uint32_t stored) {
  boost::crc_optimal<32, 0x1EDC6F41, 0xFFFFFFFF, 0xFFFFFFFF, true, true> crc;
  crc.process_bytes(data.data(), data.size());
  const std::uint32_t rotated = stored - 0xA282EAD8;
  EXPECT_EQ(rotated >> 17 | rotated << 15, crc.checksum());
}

/// The events of the one file in a folder.
std::vector<std::string> events_in(const fs::path& folder) {
  std::vector<std::string> files, out;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.path().string().find("tfevents") != std::string::npos) files.push_back(test::read_file(entry.path()));
  }
  EXPECT_EQ(files.size(), 1u);
  for (std::string_view left = files.at(0); !left.empty();) {
    const std::string_view length = left.substr(0, 8);
    const auto size = take<std::uint64_t>(left);
    expect_checksum(length, take<std::uint32_t>(left));
    out.emplace_back(left.substr(0, size));
    left.remove_prefix(size);
    expect_checksum(out.back(), take<std::uint32_t>(left));
  }
  return out;
}

/// The scalars of all events: step -> tag -> value.
std::map<std::int64_t, std::map<std::string, float>> scalars_in(const fs::path& folder) {
  std::map<std::int64_t, std::map<std::string, float>> out;
  for (const std::string& event : events_in(folder)) {
    for (const auto& [number, value] : fields_of(field(event, 5))) {
      std::string bytes = field(value, 2);
      if (bytes.size() != 4) continue;
      std::string_view view = bytes;
      const bool is_new = out[std::stoll(field(event, 2))].emplace(field(value, 1), take<float>(view)).second;
      EXPECT_TRUE(is_new) << "twice: " << field(event, 2) << " " << field(value, 1);
    }
  }
  return out;
}

TEST(Events, HoldEveryNumberOfTheMetrics) {
  const test::TempDirectory dir;
  test::train_tiny(dir / "run", {"train.tensorboard=true"});
  EXPECT_EQ(field(events_in(dir / "run").at(0), 3), "brain.Event:2");
  const auto scalars = scalars_in(dir / "run");
  const auto lines = test::metrics_of(dir / "run");
  EXPECT_EQ(scalars.size(), lines.size());
  for (const auto& line : lines) {
    for (const auto& [name, value] : line.items()) {
      if (name == "step") continue;
      EXPECT_EQ(scalars.at(line["step"]).at(name), value.get<float>()) << name;
    }
  }
}

TEST(Events, HoldConfigurationAndSample) {
  const test::TempDirectory dir;
  test::train_tiny(dir / "run", {"train.tensorboard=true"});
  std::map<std::string, std::string> texts;
  for (const std::string& event : events_in(dir / "run")) {
    const std::string value = field(field(event, 5), 1);
    if (field(field(field(value, 9), 1), 1) == "text") texts[field(value, 1)] = field(field(value, 8), 8);
  }
  ASSERT_EQ(texts.size(), 2u);
  EXPECT_NE(texts.at("config").find("    model:\n"), std::string::npos);
  EXPECT_EQ(texts.at("sample").substr(4) + "\n", test::read_file(dir / "run/sample.txt"));
}

// One file, no step twice, whatever the interrupted run had written after its checkpoint.
TEST(Events, OfAResumedRunAreThoseOfAWholeOne) {
  const test::TempDirectory dir;
  test::train_tiny(dir / "whole", {"train.tensorboard=true"});
  test::train_tiny(dir / "parts", {"train.tensorboard=true"}, false, 7);
  test::train_tiny(dir / "parts", {"train.tensorboard=true"}, true);
  const auto whole = scalars_in(dir / "whole"), parts = scalars_in(dir / "parts");
  ASSERT_EQ(whole.size(), parts.size());
  for (const auto& [step, values] : whole) EXPECT_EQ(values.at("train_loss"), parts.at(step).at("train_loss")) << step;
}

TEST(Events, AreNotWrittenUnlessAsked) {
  const test::TempDirectory dir;
  test::train_tiny(dir / "run", {"train.steps=2"});
  for (const auto& entry : fs::directory_iterator(dir / "run")) {
    EXPECT_EQ(entry.path().string().find("tfevents"), std::string::npos);
  }
}

}  // namespace
}  // namespace monge::train
