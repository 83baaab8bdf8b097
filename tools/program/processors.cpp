#include "tools/program/processors.h"

#include <omp.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <system_error>

#include "core/control_groups.h"

namespace fs = std::filesystem;

namespace monge::tools {

void let_waiting_threads_sleep(char** argv) {
  // What libgomp itself takes once it knows of more threads than processors.
  constexpr const char* spins = "1000";
  if (std::getenv("OMP_WAIT_POLICY") != nullptr || std::getenv("GOMP_SPINCOUNT") != nullptr) return;
  std::error_code error;
  const fs::path program = fs::read_symlink("/proc/self/exe", error);
  if (error || ::setenv("GOMP_SPINCOUNT", spins, 0) != 0) return;
  ::execv(program.c_str(), argv);  // returns where it fails: then threads spin
}

int default_threads() {
  constexpr int most = 1024;
  const int threads = std::min(omp_get_max_threads(), most);  // OMP_NUM_THREADS, else the affinity's processors
  const auto quota = std::getenv("OMP_NUM_THREADS") != nullptr ? std::nullopt : processor_quota();
  return quota ? std::clamp(static_cast<int>(std::lround(std::min<double>(*quota, most))), 1, threads) : threads;
}

}  // namespace monge::tools
