# OpenSSL, and how a program gets it.
#
# Gantry::Crypto and Gantry::SSL are OpenSSL's libraries, linked as usual, except into an executable that
# gantry_lazy_openssl(TARGET ARCHIVE-TARGET…) was called for: that one loads them when something of theirs is called
# first (tools/lazy_library.py). Half of the page faults of a command that never speaks TLS were for loading,
# relocating and initialising them.
find_package(OpenSSL REQUIRED)

foreach(part Crypto SSL)
  add_library(gantry_openssl_${part} INTERFACE)
  target_include_directories(gantry_openssl_${part} INTERFACE ${OPENSSL_INCLUDE_DIR})
  target_link_libraries(gantry_openssl_${part} INTERFACE
    $<$<NOT:$<BOOL:$<TARGET_PROPERTY:GANTRY_LAZY_OPENSSL>>>:OpenSSL::${part}>)
  add_library(Gantry::${part} ALIAS gantry_openssl_${part})
endforeach()

function(gantry_lazy_openssl target) # ARCHIVE-TARGET…: those of our archives that call OpenSSL
  if(GANTRY_SANITIZE OR NOT CMAKE_SYSTEM_PROCESSOR STREQUAL "x86_64")
    return()
  endif()
  set(archives "")
  foreach(archive IN LISTS ARGN)
    list(APPEND archives $<TARGET_FILE:${archive}>)
  endforeach()
  set(source ${CMAKE_CURRENT_BINARY_DIR}/${target}_openssl.S)
  add_custom_command(OUTPUT ${source}
    COMMAND /usr/bin/python3 ${CMAKE_SOURCE_DIR}/tools/lazy_library.py --out ${source}
            --library libcrypto.so.3=${OPENSSL_CRYPTO_LIBRARY} --library libssl.so.3=${OPENSSL_SSL_LIBRARY} ${archives}
    DEPENDS ${ARGN} ${CMAKE_SOURCE_DIR}/tools/lazy_library.py
    COMMENT "What ${target} calls of OpenSSL" VERBATIM)
  target_sources(${target} PRIVATE ${source} ${CMAKE_SOURCE_DIR}/src/base/lazy_library.cc)
  set_source_files_properties(${CMAKE_SOURCE_DIR}/src/base/lazy_library.cc TARGET_DIRECTORY ${target}
    PROPERTIES SKIP_UNITY_BUILD_INCLUSION ON)
  set_target_properties(${target} PROPERTIES GANTRY_LAZY_OPENSSL ON)
endfunction()
