# One static library per room, one test program per room, and a link check that fails the build when a
# room uses symbols of a room it does not declare.
#
#   gantry_room(NAME [NO_UNITY] [DEPS room…] [LIBS cmake-target-or-library…] [EXCLUDE file…])
#
# takes every *.cc below the room's directory: *_test.cc go to the room's test program, *_fuzz.cc become
# fuzz targets, main_*.cc and the files named by EXCLUDE are left to the room's own CMakeLists.txt. NO_UNITY
# is for rooms whose files each have tables of the same names (a command's flags). A
# subdirectory with a CMakeLists.txt keeps its files to itself.

function(gantry_add_rooms)
  foreach(path IN LISTS ARGN)
    string(REPLACE "drivers/graph" "graph_drivers" name ${path})
    string(REPLACE "drivers/network" "network_drivers" name ${name})
    string(REPLACE "drivers/exec" "exec_drivers" name ${name})
    set_property(GLOBAL APPEND PROPERTY GANTRY_ROOMS_SO_FAR ${name})
    if(EXISTS ${CMAKE_SOURCE_DIR}/src/${path}/CMakeLists.txt)
      add_subdirectory(src/${path})
    endif()
  endforeach()
endfunction()

function(gantry_room name)
  cmake_parse_arguments(R "NO_UNITY" "" "DEPS;LIBS;EXCLUDE" ${ARGN})
  get_property(known GLOBAL PROPERTY GANTRY_ROOMS_SO_FAR)
  foreach(dep IN LISTS R_DEPS)
    if(NOT dep IN_LIST known OR dep STREQUAL name)
      message(FATAL_ERROR "room ${name}: must not depend on ${dep}, which comes after it")
    endif()
  endforeach()

  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.cc)
  set(library_sources "")
  set(test_sources "")
  set(fuzz_sources "")
  foreach(source IN LISTS sources)
    cmake_path(GET source FILENAME file)
    cmake_path(RELATIVE_PATH source BASE_DIRECTORY ${CMAKE_CURRENT_SOURCE_DIR} OUTPUT_VARIABLE relative)
    cmake_path(GET source PARENT_PATH directory)
    if(relative IN_LIST R_EXCLUDE)
      continue()
    elseif(NOT directory STREQUAL CMAKE_CURRENT_SOURCE_DIR AND EXISTS ${directory}/CMakeLists.txt)
      continue() # a room of its own inside this one
    elseif(file MATCHES "_test\\.cc$")
      list(APPEND test_sources ${source})
    elseif(file MATCHES "_fuzz\\.cc$")
      list(APPEND fuzz_sources ${source})
    elseif(NOT file MATCHES "^main_")
      list(APPEND library_sources ${source})
    endif()
  endforeach()

  list(TRANSFORM R_DEPS PREPEND gantry_ OUTPUT_VARIABLE dep_targets)
  add_library(gantry_${name} STATIC ${library_sources})
  target_link_libraries(gantry_${name} PUBLIC ${dep_targets} ${R_LIBS} Threads::Threads)
  if(R_NO_UNITY)
    set_target_properties(gantry_${name} PROPERTIES UNITY_BUILD OFF)
  endif()

  # A static archive hides what it lacks; linking it whole shows it.
  file(WRITE ${CMAKE_BINARY_DIR}/linkcheck.cc "int main() {}\n")
  add_executable(linkcheck_${name} ${CMAKE_BINARY_DIR}/linkcheck.cc)
  set_target_properties(linkcheck_${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/linkcheck UNITY_BUILD OFF)
  target_link_libraries(linkcheck_${name} PRIVATE -Wl,--whole-archive gantry_${name} -Wl,--no-whole-archive)

  if(GANTRY_TESTS AND test_sources)
    find_package(GTest REQUIRED)
    include(GoogleTest)
    add_executable(gantry_${name}_test ${test_sources})
    target_link_libraries(gantry_${name}_test PRIVATE gantry_${name} GTest::gmock GTest::gtest GTest::gtest_main)
    # Not a unity build: each test file has its own helpers, with the names that suit it.
    set_target_properties(gantry_${name}_test PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests UNITY_BUILD OFF)
    gtest_discover_tests(gantry_${name}_test TEST_PREFIX "${name}." DISCOVERY_MODE PRE_TEST
                         PROPERTIES LABELS unit TIMEOUT 120)
  endif()
  if(GANTRY_FUZZ)
    foreach(source IN LISTS fuzz_sources)
      cmake_path(GET source STEM target)
      add_executable(${target} ${source})
      target_compile_options(${target} PRIVATE -fsanitize=fuzzer)
      target_link_options(${target} PRIVATE -fsanitize=fuzzer)
      target_link_libraries(${target} PRIVATE gantry_${name})
      set_target_properties(${target} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/fuzz)
    endforeach()
  endif()
endfunction()
