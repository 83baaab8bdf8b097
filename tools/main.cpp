#include "tools/program.h"

int main(int argc, char** argv) { return monge::tools::run(argc, argv); }
