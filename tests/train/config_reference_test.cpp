// docs/config.md says what the schema says. MONGE_UPDATE_DOCS=1 rewrites the page.
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <iterator>

#include "train/config/config.h"

namespace monge::train {
namespace {

TEST(ConfigReference, PageIsUpToDate) {
  const std::string path = MONGE_SOURCE_DIR "/docs/config.md";
  const std::string expected = config_reference_markdown();
  if (std::getenv("MONGE_UPDATE_DOCS") != nullptr) std::ofstream(path, std::ios::binary) << expected;
  std::ifstream file(path, std::ios::binary);
  const std::string page{std::istreambuf_iterator<char>(file), {}};
  EXPECT_TRUE(page == expected) << path << " is not what the schema says; rewrite it with MONGE_UPDATE_DOCS=1 and "
                                << "look at the difference";
}

TEST(ConfigReference, TablesHoldKeysOfSectionsAndOfKinds) {
  const std::string page = config_reference_markdown();
  for (const char* part :
       {"| `train.steps` | integer | `2000` | steps | >= 1 | optimizer steps of the run |\n",
        "| `data` | choice | required |", "### `model`: model kind gpt\n",
        "### `model.mlp`: model kind gpt, mlp kind gelu\n", "### `optimizer`: optimizer name adamw\n",
        "### `optimizer.groups.N`\n", "`optimizer.groups.N.match`", "float32 \\| bfloat16"}) {
    EXPECT_NE(page.find(part), std::string::npos) << part;
  }
}

}  // namespace
}  // namespace monge::train
