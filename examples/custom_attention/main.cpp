// The whole `monge` program with one more attention, `plain`: train, eval, sample, bench, info and compare know it.
#include "plain_attention.h"

int main(int argc, char** argv) {
  plain_attention::add_plain_attention();
  return monge::tools::run(argc, argv);
}
