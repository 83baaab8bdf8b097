// The steps of the update rules, as text without a namespace and without an include guard: reference includes it for
// plain code, the cpu backend once for each instruction set. core/update_rule/update_rule.h and <cmath> come before it.

/// One step of a rule on elements V: see core/update_rule/update_rule.h.
template <class Rule, class V>
class UpdateStep;

#include "core/update_rule/averages.h"
// The rules.
#include "core/update_rule/adamw.h"
#include "core/update_rule/ademamix.h"
#include "core/update_rule/lion.h"
#include "core/update_rule/nadamw.h"
#include "core/update_rule/rms.h"
#include "core/update_rule/sgd.h"
#include "core/update_rule/signum.h"
