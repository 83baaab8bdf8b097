// EventFile: the metrics of a run as TensorBoard reads them. It holds what metrics.jsonl holds, each number of a line
// as a scalar at its step, and texts beside.
//
// The file is a sequence of records (TFRecord): length, its checksum, data, its checksum, where a checksum is a rotated
// CRC-32C and the data an Event in the protocol buffer format (tensorflow/core/util/event.proto).
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

namespace monge::train {

class EventFile {
 public:
  /// Begins a new file, events.out.tfevents.<seconds>.monge, in the place of those that are there, with the lines that
  /// `metrics` has: a run that goes on has one file, and no step twice. `seconds` of the run are over. Throws RunError.
  EventFile(const std::filesystem::path& folder, const std::filesystem::path& metrics, double seconds);

  /// A line of metrics.jsonl. Throws RunError (disk full).
  void append(std::string_view line);
  /// Markdown, under TensorBoard's page of texts. Throws RunError.
  void append_text(const std::string& tag, std::int64_t step, std::string_view text);

 private:
  void write(std::string_view event);

  std::filesystem::path file_;
  double begin_;  // of the run, in seconds since 1970
};

}  // namespace monge::train
