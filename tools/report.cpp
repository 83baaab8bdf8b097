// monge report RESULTS [--out DIR]

#include "tools/compare/report/report.h"
#include "tools/commands.h"
#include "train/folder/folder_lock.h"

namespace fs = std::filesystem;

namespace monge::tools {
namespace {

struct Arguments {
  std::string results, out;
};

void run(const Arguments& arguments) {
  const fs::path given = arguments.results;
  const fs::path file = fs::is_directory(given) ? given / "results.json" : given;
  const fs::path folder = arguments.out.empty() ? fs::absolute(file).parent_path() : fs::path(arguments.out);
  const compare::Results results = compare::read_results(file);
  const train::FolderLock lock(folder, "comparison");
  compare::write_report(results, folder);
  fmt::print("{}\n", (folder / "report.html").string());
}

}  // namespace

void add_report(Command& program) {
  auto arguments = std::make_shared<Arguments>();
  Command report = program.subcommand(
      "report", "Write what a comparison found as one HTML page, with the same numbers as Markdown and CSV");
  report.option("results", arguments->results, "Folder of a comparison, or its results.json").required();
  report.option("--out", arguments->out,
                "Folder for report.html, report.md and results.csv (default: beside results.json)");
  report.action([arguments] { run(*arguments); });
}

}  // namespace monge::tools
