# Everything Monge needs comes from the system's packages; nothing is downloaded. A library counts as found when a
# program that calls it compiles and links. One installed elsewhere is named as usual, for example with
# -Ddnnl_DIR=/opt/onednn/lib/cmake/dnnl or CMAKE_PREFIX_PATH.
include(CheckCXXSourceCompiles)

if((CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 12) OR
   (CMAKE_CXX_COMPILER_ID STREQUAL "Clang" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 15))
  message(FATAL_ERROR "Monge is C++20 and needs g++ 12 or clang++ 15, or newer; ${CMAKE_CXX_COMPILER} is "
                      "${CMAKE_CXX_COMPILER_ID} ${CMAKE_CXX_COMPILER_VERSION}.\n"
                      "Name another with -DCMAKE_CXX_COMPILER=...")
endif()

# monge_find(PACKAGE TARGET DEBIAN_PACKAGE SOURCE [find_package arguments...])
# A macro: what find_package sets belongs to the whole project. `SOURCE` is a program that needs TARGET.
macro(monge_find package target debian source)
  find_package(${package} QUIET ${ARGN})
  if(NOT ${package}_FOUND)
    message(FATAL_ERROR "${package} was not found. Install it with: apt-get install ${debian}\n"
                        "(tools/install_dependencies.sh installs everything Monge needs.)")
  endif()
  set(CMAKE_REQUIRED_LIBRARIES ${target})
  if(NOT TARGET ${target})  # yaml-cpp 0.7, that of Debian 12, exports the plain name
    add_library(${target} ALIAS ${package})
    set(CMAKE_REQUIRED_LIBRARIES ${package})
  endif()
  set(CMAKE_REQUIRED_QUIET ON)
  check_cxx_source_compiles("${source}" MONGE_LINKS_${package})
  if(NOT MONGE_LINKS_${package})
    unset(MONGE_LINKS_${package} CACHE)
    message(FATAL_ERROR "${package} ${${package}_VERSION} was found (${${package}_DIR}), but a small program that uses "
                        "it does not build; the end of the log in ${PROJECT_BINARY_DIR}/CMakeFiles says why.\n"
                        "Install it anew with: apt-get install --reinstall ${debian}")
  endif()
  unset(CMAKE_REQUIRED_LIBRARIES)
  unset(CMAKE_REQUIRED_QUIET)
endmacro()

set(THREADS_PREFER_PTHREAD_FLAG ON)
find_package(Threads REQUIRED)
monge_find(OpenMP OpenMP::OpenMP_CXX libgomp1 [[
  #include <omp.h>
  int main() { return omp_get_max_threads() == 0; }]] COMPONENTS CXX)
monge_find(dnnl DNNL::dnnl "libdnnl-dev ocl-icd-opencl-dev" [[
  #include <oneapi/dnnl/dnnl.h>
  int main() { return dnnl_version()->major == 0; }]] CONFIG)
monge_find(hwy hwy::hwy libhwy-dev [[
  #include <hwy/targets.h>
  int main() { return hwy::SupportedTargets() == 0; }]] CONFIG)
monge_find(fmt fmt::fmt libfmt-dev [[
  #include <fmt/format.h>
  int main() { return fmt::format("{}", 1).empty(); }]] CONFIG)
monge_find(yaml-cpp yaml-cpp::yaml-cpp libyaml-cpp-dev [[
  #include <yaml-cpp/yaml.h>
  int main() { return YAML::Load("0").as<int>(); }]] CONFIG)
monge_find(nlohmann_json nlohmann_json::nlohmann_json nlohmann-json3-dev [[
  #include <nlohmann/json.hpp>
  int main() { return nlohmann::json::parse("0").get<int>(); }]] CONFIG)
monge_find(CLI11 CLI11::CLI11 libcli11-dev [[
  #include <CLI/CLI.hpp>
  int main() { return CLI::App().get_name().size(); }]] CONFIG)
monge_find(Eigen3 Eigen3::Eigen libeigen3-dev [[
  #include <Eigen/Cholesky>
  int main() { return Eigen::Matrix2d::Identity().llt().info() != Eigen::Success; }]] NO_MODULE)
monge_find(Boost Boost::headers libboost-math-dev [[
  #include <boost/math/distributions/students_t.hpp>
  int main() { return cdf(boost::math::students_t(1.0), 0.0) != 0.5; }]] CONFIG)
# xxHash has no CMake package and, inlined, needs no library.
find_path(MONGE_XXHASH_INCLUDE xxhash.h)
if(NOT MONGE_XXHASH_INCLUDE)
  message(FATAL_ERROR "xxhash.h was not found. Install it with: apt-get install libxxhash-dev")
endif()
add_library(monge_xxhash INTERFACE IMPORTED)
target_include_directories(monge_xxhash INTERFACE ${MONGE_XXHASH_INCLUDE})
# PCRE2 and utf8proc, whose Debian packages have no CMake package: regular expressions and normal forms of tokenizers.
foreach(library IN ITEMS pcre2-8:pcre2.h:libpcre2-dev utf8proc:utf8proc.h:libutf8proc-dev)
  string(REGEX MATCH "^(.*):(.*):(.*)$" all ${library})
  set(name ${CMAKE_MATCH_1})
  set(header ${CMAKE_MATCH_2})
  set(debian ${CMAKE_MATCH_3})
  find_path(MONGE_${name}_INCLUDE ${header})
  find_library(MONGE_${name}_LIBRARY ${name})
  if(NOT MONGE_${name}_INCLUDE OR NOT MONGE_${name}_LIBRARY)
    message(FATAL_ERROR "${header} or lib${name} was not found. Install them with: apt-get install ${debian}\n"
                        "(tools/install_dependencies.sh installs everything Monge needs.)")
  endif()
  # Its own name where Monge is installed: the linker of a program that uses it finds the package there.
  add_library(monge_${name} INTERFACE IMPORTED)
  target_include_directories(monge_${name} INTERFACE ${MONGE_${name}_INCLUDE})
endforeach()
# Of the LAPACKs, OpenBLAS: its threads can be told to stay out of ours.
set(BLA_VENDOR OpenBLAS)
monge_find(LAPACK LAPACK::LAPACK libopenblas-pthread-dev [[
  extern "C" void openblas_set_num_threads(int);
  extern "C" void dpotrf_(const char*, const int*, double*, const int*, int*, decltype(sizeof 0));
  int main() {
    int n = 1, info = 0;
    double one = 1.0;
    openblas_set_num_threads(1);
    dpotrf_("U", &n, &one, &n, &info, 1);
    return info;
  }]])
if(MONGE_TESTS)
  monge_find(GTest GTest::gtest libgtest-dev [[
    #include <gtest/gtest.h>
    int main() { testing::InitGoogleTest(); return RUN_ALL_TESTS(); }]])
endif()

if(dnnl_VERSION VERSION_LESS 2.6)
  message(FATAL_ERROR "oneDNN ${dnnl_VERSION} (${dnnl_DIR}) is too old: Monge needs 2.6 or newer.\n"
                      "Point to another with -Ddnnl_DIR=...")
endif()
