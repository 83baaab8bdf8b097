// The `monge` program as a function, so that a user's own program can register layers, datasets or optimizers and
// then offer the same command line.
#pragma once

namespace monge::tools {

/// Runs the program and returns its exit code: 0 done, 2 wrong input, 3 run failed, 130 interrupted after a
/// checkpoint. Throws nothing: an error is one message on stderr.
int run(int argc, char** argv);

}  // namespace monge::tools
