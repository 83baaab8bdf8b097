#include "train/folder/metrics.h"

#include <gtest/gtest.h>

#include "core/error.h"
#include "support/temp_directory.h"
#include "train/console/progress.h"
#include "train/console/summary.h"

namespace monge::train {
namespace {

using test::read_file;
using test::TempDirectory;
using test::write_file;

TEST(MetricsLine, LeavesOutWhatDoesNotApply) {
  EXPECT_EQ((MetricsLine{.step = 3, .tokens = 192, .seconds = 0.5}).json(), R"({"step":3,"tokens":192,"seconds":0.5})");
  EXPECT_EQ((MetricsLine{.step = 3,
                         .tokens = 192,
                         .seconds = 0.5,
                         .train_loss = 1.0,
                         .val_loss = 2.0,
                         .excess_loss = 0.25,
                         .val_accuracy = 0.5,
                         .lr = 1e-3,
                         .grad_norm = 0.1,
                         .tokens_per_second = 10.0,
                         .mfu = 0.6,
                         .peak_bytes = 7})
                .json(),
            R"({"step":3,"tokens":192,"seconds":0.5,"train_loss":1.0,"val_loss":2.0,"excess_loss":0.25,)"
            R"("val_accuracy":0.5,"lr":0.001,"grad_norm":0.1,"tokens_per_second":10.0,"mfu":0.6,"peak_bytes":7})");
}

TEST(MetricsFile, AppendsLines) {
  const TempDirectory dir;
  {
    MetricsFile file(dir / "m.jsonl", 0);
    file.append({.step = 1});
    file.append({.step = 2});
  }
  EXPECT_EQ(read_file(dir / "m.jsonl"),
            "{\"step\":1,\"tokens\":0,\"seconds\":0.0}\n{\"step\":2,\"tokens\":0,\"seconds\":0.0}\n");
}

TEST(MetricsFile, DropsLinesAfterTheStepAndACutLine) {
  const TempDirectory dir;
  const std::string kept = "{\"step\":10}\n{\"step\":20}\n";
  for (const char* rest : {"", "{\"step\":30}\n", "{\"step\":21}\n{\"step\":30}\n", "{\"step\":2", "{\"step\":20}",
                           "garbage\n{\"step\":15}\n", "\n"}) {
    write_file(dir / "m.jsonl", kept + rest);
    { MetricsFile file(dir / "m.jsonl", 20); }
    EXPECT_EQ(read_file(dir / "m.jsonl"), kept) << rest;
  }
  { MetricsFile file(dir / "m.jsonl", 0); }
  EXPECT_EQ(read_file(dir / "m.jsonl"), "");
}

TEST(MetricsFile, FailsWhereItCannotWrite) {
  const TempDirectory dir;
  EXPECT_THROW(MetricsFile(dir / "none/m.jsonl", 0), RunError);
}

TEST(Text, ReadsWell) {
  EXPECT_EQ(duration_text(1.23), "1.2 s");
  EXPECT_EQ(duration_text(59.96), "1 min 00 s");
  EXPECT_EQ(duration_text(200), "3 min 20 s");
  EXPECT_EQ(duration_text(7500), "2 h 05 min");
  EXPECT_EQ(bytes_text(812), "812 B");
  EXPECT_EQ(bytes_text(3.5 * 1048576), "3.5 MiB");
  EXPECT_EQ(count_text(812), "812 ");
  EXPECT_EQ(count_text(10650), "10.7 k");
  EXPECT_EQ(count_text(999600), "1.00 M");
  EXPECT_EQ(count_text(215e9), "215 G");
  EXPECT_EQ(count_text(2.2e18), "2.20 E");
  EXPECT_EQ(thousands(0), "0");
  EXPECT_EQ(thousands(999), "999");
  EXPECT_EQ(thousands(825088), "825,088");
  EXPECT_EQ(thousands(124439808), "124,439,808");
}

TEST(Progress, WritesPlainLinesIntoAFile) {
  const TempDirectory dir;
  std::FILE* out = std::fopen((dir / "log").c_str(), "w");
  {
    Progress progress(out);
    progress.note("a");
    progress.update("b");
    progress.update("c");
  }
  std::fclose(out);
  EXPECT_EQ(read_file(dir / "log"), "a\nb\nc\n");
}

}  // namespace
}  // namespace monge::train
