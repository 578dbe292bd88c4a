# Compiler, linker, cache and sanitizer settings, shared by every room.
find_program(GANTRY_CCACHE ccache)
if(GANTRY_CCACHE)
  # Hits across clones need paths relative to the source tree and no hash of the working directory.
  set(CMAKE_CXX_COMPILER_LAUNCHER
      ${CMAKE_COMMAND} -E env CCACHE_BASEDIR=${CMAKE_SOURCE_DIR} CCACHE_NOHASHDIR=1 ${GANTRY_CCACHE})
endif()
find_program(GANTRY_MOLD mold)
if(GANTRY_MOLD)
  add_link_options(-fuse-ld=mold)
endif()

add_compile_options(-Wall -Wextra -Wshadow -Wnon-virtual-dtor -Woverloaded-virtual -Wno-missing-field-initializers
                    -Werror=return-type -Werror=unused-result -fno-omit-frame-pointer)
if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
  add_compile_options(-Wthread-safety -Wno-gnu-statement-expression)
endif()
add_compile_definitions(_GNU_SOURCE _FILE_OFFSET_BITS=64 GANTRY_VERSION="${PROJECT_VERSION}")
include_directories(${CMAKE_SOURCE_DIR}/src)

if(GANTRY_FAILPOINTS)
  add_compile_definitions(GANTRY_FAILPOINTS=1)
endif()
if(GANTRY_SANITIZE)
  add_compile_options(-fsanitize=${GANTRY_SANITIZE} -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${GANTRY_SANITIZE})
endif()

find_package(Threads REQUIRED)
find_package(PkgConfig REQUIRED)
