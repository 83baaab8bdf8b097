// The program with the emulated GPU in the place of a real one: every device=cuda of its arguments works on any
// machine, for tiny models.
#include "core/backend.h"
#include "simt/device.h"
#include "tools/program/program.h"

int main(int argc, char** argv) {
  monge::make_cuda_backends_with(monge::simt::make_backend);
  return monge::tools::run(argc, argv);
}
