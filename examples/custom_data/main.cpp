// The whole `monge` program with one more dataset, `stutter`, and one more tokenizer, `letters`.
#include "custom_data.h"

int main(int argc, char** argv) {
  custom_data::add_data();
  return monge::tools::run(argc, argv);
}
