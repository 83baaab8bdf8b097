#include "tools/program/processors.h"
#include "tools/program/program.h"

int main(int argc, char** argv) {
  monge::tools::let_waiting_threads_sleep(argv);
  return monge::tools::run(argc, argv);
}
