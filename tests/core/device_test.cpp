// Devices by name, and what a machine says that lacks one.
#include "core/device.h"

#include "support/expect_error.h"

namespace monge {
namespace {

TEST(Device, NamesReadBack) {
  for (const char* name : {"cpu", "reference", "cuda", "cuda:3"}) EXPECT_EQ(parse_device(name).str(), name);
  EXPECT_EQ(parse_device("cuda:0").str(), "cuda");
}

TEST(Device, AnUnknownNameSaysWhatIsAllowed) {
  for (const char* name : {"", "gpu", "cuda:", "cuda:x", "cuda:-1", "cuda:1x", "CPU"}) {
    const std::string message = error_of([&] { parse_device(name); });
    EXPECT_HAS(message, "allowed: cpu, cuda, cuda:N, reference");
  }
}

// Without CUDA in the build, without a driver, without a GPU, or with too few of them.
TEST(Device, AGpuThatIsNotThereSaysWhyAndWhatToDo) {
  const std::string message = error_of([] { backend_of(parse_device("cuda:777")); });
  EXPECT_HAS(message, "device 'cuda");
  EXPECT_TRUE(message.find("device: cpu") != std::string::npos || message.find("allowed: cuda") != std::string::npos)
      << message;
}

}  // namespace
}  // namespace monge
