// How the program uses the machine's processors, unless the user has said so with OpenMP's own variables.
#pragma once

namespace monge::tools {

/// Waiting threads spin for some microseconds, then sleep: OpenMP's default, some milliseconds, costs a factor of ten
/// where other programs run. OpenMP reads its environment before main(), so the program starts itself once more, with
/// GOMP_SPINCOUNT; call it first. Does nothing where OMP_WAIT_POLICY or GOMP_SPINCOUNT is set.
void let_waiting_threads_sleep(char** argv);

/// How many threads a run should have: OMP_NUM_THREADS, or the processors that this process may run on, but no more
/// than its control groups pay for.
int default_threads();

}  // namespace monge::tools
