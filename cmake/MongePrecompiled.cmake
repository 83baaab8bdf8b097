# Headers that most sources include and that the compiler reads slowly, precompiled once for the libraries and once for
# the tests. None of Monge's own, so that changing one rebuilds what includes it and nothing else. A source still includes
# what it uses: -DCMAKE_DISABLE_PRECOMPILE_HEADERS=ON shows whether it does.
set(MONGE_PRECOMPILED <algorithm> <array> <cmath> <cstdint> <filesystem> <fstream> <functional> <limits> <map> <memory>
                      <numeric> <optional> <set> <span> <stdexcept> <string> <string_view> <utility> <vector> <fmt/format.h> <nlohmann/json.hpp>)
file(CONFIGURE OUTPUT ${PROJECT_BINARY_DIR}/precompiled.cpp CONTENT "")

# monge_precompile(TARGET [headers...]): a target that others name in target_precompile_headers(... REUSE_FROM TARGET).
# They must have all of its definitions and the same code generation options.
function(monge_precompile target)
  add_library(${target} OBJECT ${PROJECT_BINARY_DIR}/precompiled.cpp)
  target_precompile_headers(${target} PRIVATE ${MONGE_PRECOMPILED} ${ARGN})
  target_link_libraries(${target} PRIVATE fmt::fmt nlohmann_json::nlohmann_json OpenMP::OpenMP_CXX)
endfunction()

# ccache caches what uses a precompiled header only under these settings.
if(CMAKE_CXX_COMPILER_LAUNCHER MATCHES "ccache$")
  list(PREPEND CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env CCACHE_SLOPPINESS=pch_defines,time_macros)
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    add_compile_options($<$<COMPILE_LANGUAGE:CXX>:-fpch-preprocess>)
  endif()
endif()

monge_precompile(monge_precompiled)
set_target_properties(monge_precompiled PROPERTIES POSITION_INDEPENDENT_CODE ON)
