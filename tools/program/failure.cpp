#include "tools/program/failure.h"

#include <fmt/ranges.h>

#include <new>
#include <system_error>

#include "core/options/registry.h"
#include "tools/program/output.h"
#include "train/console/interrupt.h"

namespace monge::tools {
namespace {

/// What to say of an exception that no message was made for. A program with kinds of its own has thrown it itself, or
/// has called Monge with what it cannot take.
std::string about_failure(const std::string& what) {
  const std::vector<std::string>& own = RegistryBase::own_kinds();
  if (own.empty()) return fmt::format("internal error: {}; this is a bug in Monge", what);
  return fmt::format(
      "{}\n  This program adds {}: the fault is most likely there (docs/extending.md says what is "
      "asked of each kind).",
      what, fmt::join(own, ", "));
}

}  // namespace

Failure failure_of(const std::exception_ptr& thrown) {
  try {
    std::rethrow_exception(thrown);
  } catch (const train::Interrupted&) {
    return {ExitCode::interrupted, "stopped before the first step; nothing was written"};
  } catch (const InputError& e) {
    return {ExitCode::wrong_input, e.what()};
  } catch (const RunError& e) {
    return {ExitCode::run_failed, e.what()};
  } catch (const std::system_error& e) {
    return {ExitCode::run_failed, refusal_text(e)};
  } catch (const std::bad_alloc&) {
    return {ExitCode::run_failed, "out of memory; lower train.batch, model.context or the size of the model"};
  } catch (const std::exception& e) {
    return {ExitCode::run_failed, about_failure(e.what())};
  }
}

}  // namespace monge::tools
