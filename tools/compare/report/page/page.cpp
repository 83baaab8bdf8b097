#include "tools/compare/report/page/page.h"

namespace monge::compare {

std::string_view severity_name(Severity severity) {
  switch (severity) {
    case Severity::error: return "error";
    case Severity::warning: return "warning";
    case Severity::note: return "note";
  }
  return "";
}

}  // namespace monge::compare
