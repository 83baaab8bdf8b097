# monge_library(NAME [WITHOUT folder] [PUBLIC libs...] [PRIVATE libs...])
#
# The library of one folder: all its sources, and an include directory that shows this folder alone. A target sees the
# headers of what it links, so including a header of a higher folder does not compile.
function(monge_library name)
  cmake_parse_arguments(arg "" "WITHOUT" "PUBLIC;PRIVATE" ${ARGN})
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.cpp)
  list(FILTER sources EXCLUDE REGEX "/main\\.cpp$")
  if(arg_WITHOUT)
    list(FILTER sources EXCLUDE REGEX "^${CMAKE_CURRENT_SOURCE_DIR}/${arg_WITHOUT}/")
  endif()
  add_library(monge_${name} STATIC ${sources})
  add_library(monge::${name} ALIAS monge_${name})

  set(view ${PROJECT_BINARY_DIR}/include/${name})
  file(MAKE_DIRECTORY ${view})
  file(CREATE_LINK ${CMAKE_CURRENT_SOURCE_DIR} ${view}/${name} SYMBOLIC)
  target_include_directories(monge_${name} PUBLIC $<BUILD_INTERFACE:${view}>
                                                  $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}/monge>)
  target_compile_features(monge_${name} PUBLIC cxx_std_20)
  target_compile_options(monge_${name} PRIVATE
    "$<$<COMPILE_LANGUAGE:CXX>:-Wall;-Wextra;-Wshadow;-Wconversion;-Wno-sign-conversion;-Wno-missing-field-initializers>")
  # g++ 12 sees copies inside std::string that cannot happen (GCC bug 105651).
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
    target_compile_options(monge_${name} PRIVATE
      "$<$<COMPILE_LANGUAGE:CXX>:-Wno-array-bounds;-Wno-restrict;-Wno-stringop-overflow;-Wno-stringop-overread>")
  endif()
  target_link_libraries(monge_${name} PUBLIC ${arg_PUBLIC} PRIVATE ${arg_PRIVATE})
  target_precompile_headers(monge_${name} REUSE_FROM monge_precompiled)
  set_target_properties(monge_${name} PROPERTIES EXPORT_NAME ${name} POSITION_INDEPENDENT_CODE ON)
  set_property(GLOBAL APPEND PROPERTY MONGE_LIBRARIES monge_${name})
endfunction()

# One executable and one ctest entry per tests/<folder>/<name>_test.cpp, linked to the library of that folder and to the
# dense oracles of `monge verify`, which need core alone.
# A name ending in _slow_test carries the label "slow", the others "fast". One that starts with backend_ runs on every
# device: cpu, the emulated GPU ("emulated/..."), and, where the GPU backend is built, a real one ("gpu/...", label
# "gpu": skipped without a GPU).
function(monge_tests folder)
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/${folder}/*_test.cpp)
  foreach(source IN LISTS sources)
    get_filename_component(name ${source} NAME_WE)
    set(target ${folder}_${name})
    add_executable(${target} ${source})
    target_link_libraries(${target} PRIVATE monge_${folder} monge_tools_verify_oracles ${ARGN} GTest::gtest_main)
    target_include_directories(${target} PRIVATE ${PROJECT_SOURCE_DIR}/tests)
    target_compile_definitions(${target} PRIVATE MONGE_SOURCE_DIR="${PROJECT_SOURCE_DIR}"
                                                 MONGE_BINARY_DIR="${PROJECT_BINARY_DIR}")
    target_compile_options(${target} PRIVATE -Wall -Wextra -Wno-missing-field-initializers)
    target_precompile_headers(${target} REUSE_FROM monge_tests_precompiled)
    set(label fast)
    if(name MATCHES "_slow_test$")
      set(label slow)
    endif()
    add_test(NAME ${folder}/${name} COMMAND ${target})
    set_tests_properties(${folder}/${name} PROPERTIES LABELS ${label})
    if(name MATCHES "^backend_")
      target_link_libraries(${target} PRIVATE monge_simt)
      add_test(NAME emulated/${folder}/${name} COMMAND ${target})
      set_tests_properties(emulated/${folder}/${name} PROPERTIES LABELS ${label}
                                                                  ENVIRONMENT MONGE_TEST_DEVICE=emulated)
      if(MONGE_HAS_CUDA)
        add_test(NAME gpu/${folder}/${name} COMMAND ${target})
        set_tests_properties(gpu/${folder}/${name} PROPERTIES LABELS gpu ENVIRONMENT MONGE_TEST_DEVICE=cuda
                                                              SKIP_RETURN_CODE 77)
      endif()
    endif()
  endforeach()
endfunction()
