# monge_library(NAME [PUBLIC libs...] [PRIVATE libs...])
#
# The library of one folder: all its sources, and an include directory that shows this folder alone. A target sees the
# headers of what it links, so including a header of a higher folder does not compile.
function(monge_library name)
  cmake_parse_arguments(arg "" "" "PUBLIC;PRIVATE" ${ARGN})
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.cpp)
  list(FILTER sources EXCLUDE REGEX "/main\\.cpp$")
  add_library(monge_${name} STATIC ${sources})
  add_library(monge::${name} ALIAS monge_${name})

  set(view ${PROJECT_BINARY_DIR}/include/${name})
  file(MAKE_DIRECTORY ${view})
  file(CREATE_LINK ${CMAKE_CURRENT_SOURCE_DIR} ${view}/${name} SYMBOLIC)
  target_include_directories(monge_${name} PUBLIC $<BUILD_INTERFACE:${view}>
                                                  $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}/monge>)
  target_compile_features(monge_${name} PUBLIC cxx_std_20)
  target_compile_options(monge_${name} PRIVATE -Wall -Wextra -Wshadow -Wconversion -Wno-sign-conversion
                                                       -Wno-missing-field-initializers)
  target_link_libraries(monge_${name} PUBLIC ${arg_PUBLIC} PRIVATE ${arg_PRIVATE})
  set_target_properties(monge_${name} PROPERTIES EXPORT_NAME ${name} POSITION_INDEPENDENT_CODE ON)
  set_property(GLOBAL APPEND PROPERTY MONGE_LIBRARIES monge_${name})
endfunction()

# One executable and one ctest entry per tests/<folder>/<name>_test.cpp, linked to the library of that folder.
# A name ending in _slow_test carries the label "slow", the others "fast".
function(monge_tests folder)
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/${folder}/*_test.cpp)
  foreach(source IN LISTS sources)
    get_filename_component(name ${source} NAME_WE)
    set(target ${folder}_${name})
    add_executable(${target} ${source})
    target_link_libraries(${target} PRIVATE monge_${folder} ${ARGN} Eigen3::Eigen GTest::gtest_main)
    target_include_directories(${target} PRIVATE ${PROJECT_SOURCE_DIR}/tests)
    target_compile_definitions(${target} PRIVATE MONGE_SOURCE_DIR="${PROJECT_SOURCE_DIR}"
                                                 MONGE_BINARY_DIR="${PROJECT_BINARY_DIR}")
    target_compile_options(${target} PRIVATE -Wall -Wextra -Wno-missing-field-initializers)
    add_test(NAME ${folder}/${name} COMMAND ${target})
    if(name MATCHES "_slow_test$")
      set_tests_properties(${folder}/${name} PROPERTIES LABELS slow)
    else()
      set_tests_properties(${folder}/${name} PROPERTIES LABELS fast)
    endif()
  endforeach()
endfunction()
