// Progress: what a run tells the person who watches it.
//
// On a terminal the state of the run is one line that is rewritten; elsewhere every state is a plain line.
#pragma once

#include <cstdio>
#include <string>

namespace monge::train {

class Progress {
 public:
  /// Writes to `out`, which may be null: then it is silent. The stream outlives this.
  explicit Progress(std::FILE* out);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  /// A line that stays.
  void note(const std::string& text);
  /// The present state, which replaces the one before on a terminal.
  void update(const std::string& text);
  /// Ends the rewritten line, so that other output may follow.
  void finish();

 private:
  std::FILE* out_;
  bool terminal_;
  bool pending_ = false;  // the cursor stands on a rewritten line
};

/// "1.2 s", "3 min 20 s", "2 h 05 min".
std::string duration_text(double seconds);
/// "812 B", "3.4 MiB", "1.20 GiB".
std::string bytes_text(double bytes);
/// "812 ", "10.7 k", "1.24 G": a count with three digits, for a unit to follow.
std::string count_text(double count);

}  // namespace monge::train
