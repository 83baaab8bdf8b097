// Which processors the program uses, and how its threads wait.
#include "tools/program/processors.h"

#include <gtest/gtest.h>

#include "support/program.h"

namespace monge::tools {
namespace {

TEST(Threads, AreThoseOfTheAffinity) {
  const test::Program program;
  program.write_config();
  const auto device = [&](const std::string& before) {
    const std::string out = program.run("info", "unset OMP_NUM_THREADS; " + before).out;
    const std::size_t at = out.find("  cpu ");
    return out.substr(at, out.find('\n', at) - at);
  };
  EXPECT_NE(device("set -- $(taskset -pc $$ | grep -o '[0-9]*$'); taskset -pc $1 $$ >/dev/null; ").find(" 1 thread,"),
            std::string::npos);
  EXPECT_NE(device("export OMP_NUM_THREADS=3; ").find(" 3 threads,"), std::string::npos);
}

// The program starts itself once more with the variable; what the user has said stands.
TEST(Threads, SleepSoonWhileTheyWait) {
  const test::Program program;
  const auto spins = [&](const std::string& before) {
    const test::Result result =
        program.run("info", "unset OMP_WAIT_POLICY GOMP_SPINCOUNT; " + before + "export OMP_DISPLAY_ENV=verbose; ");
    const std::size_t at = result.err.rfind("GOMP_SPINCOUNT = ");
    return at == std::string::npos ? "" : result.err.substr(at, result.err.find('\n', at) - at);
  };
  EXPECT_EQ(spins(""), "GOMP_SPINCOUNT = '1000'");
  EXPECT_EQ(spins("export GOMP_SPINCOUNT=77; "), "GOMP_SPINCOUNT = '77'");
  EXPECT_EQ(spins("export OMP_WAIT_POLICY=passive; "), "GOMP_SPINCOUNT = '0'");
}

}  // namespace
}  // namespace monge::tools
