// The whole `monge` program with one more model, `averages`: train, eval, sample, bench, info and compare know it.
#include "averages.h"

int main(int argc, char** argv) {
  averages::add_averages();
  return monge::tools::run(argc, argv);
}
