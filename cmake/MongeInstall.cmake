# `cmake --install`: the program, the libraries, the headers and a CMake package, so that a program of your own says
#   find_package(monge REQUIRED)
#   target_link_libraries(mine PRIVATE monge::monge)
# and its sources #include <monge.h>.
include(CMakePackageConfigHelpers)

# monge::monge is all of it, with the header that names it.
set(umbrella ${PROJECT_BINARY_DIR}/include/monge)
file(MAKE_DIRECTORY ${umbrella})
file(CREATE_LINK ${PROJECT_SOURCE_DIR}/monge.h ${umbrella}/monge.h SYMBOLIC)
add_library(monge_all INTERFACE)
add_library(monge::monge ALIAS monge_all)
set_target_properties(monge_all PROPERTIES EXPORT_NAME monge)
target_link_libraries(monge_all INTERFACE monge_tools)
target_include_directories(monge_all INTERFACE $<BUILD_INTERFACE:${umbrella}>
                                               $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}/monge>)

set(package ${CMAKE_INSTALL_LIBDIR}/cmake/monge)
get_property(libraries GLOBAL PROPERTY MONGE_LIBRARIES)
install(TARGETS monge RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(TARGETS ${libraries} monge_all EXPORT monge ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(EXPORT monge NAMESPACE monge:: FILE monge-targets.cmake DESTINATION ${package})
install(FILES ${PROJECT_SOURCE_DIR}/monge.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/monge)
foreach(library IN LISTS libraries)
  string(REGEX REPLACE "^monge_" "" folder ${library})
  install(DIRECTORY ${PROJECT_SOURCE_DIR}/${folder} DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/monge
          FILES_MATCHING PATTERN "*.h" PATTERN "bench" EXCLUDE PATTERN "fixtures" EXCLUDE)
endforeach()

configure_package_config_file(cmake/monge-config.cmake.in ${PROJECT_BINARY_DIR}/monge-config.cmake
                              INSTALL_DESTINATION ${package})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/monge-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/monge-config.cmake ${PROJECT_BINARY_DIR}/monge-config-version.cmake
        DESTINATION ${package})
