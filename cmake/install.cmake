# The target `programs` (everything but the tests) and where `cmake --install` puts things.
include(GNUInstallDirs)

add_custom_target(programs)
foreach(program gantry gantryd gantry-runtime gantry-registry)
  if(TARGET ${program})
    add_dependencies(programs ${program})
    install(TARGETS ${program} RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
  endif()
endforeach()
if(TARGET gantry_images) # the built-in image archives
  add_dependencies(programs gantry_images)
  install(DIRECTORY ${CMAKE_BINARY_DIR}/images/ DESTINATION ${CMAKE_INSTALL_DATADIR}/gantry/images
          FILES_MATCHING PATTERN "*.tar*")
endif()
configure_file(packaging/gantry.service.in ${CMAKE_BINARY_DIR}/packaging/gantry.service @ONLY)
install(FILES ${CMAKE_BINARY_DIR}/packaging/gantry.service DESTINATION lib/systemd/system)

configure_file(packaging/gantry-registry.service.in ${CMAKE_BINARY_DIR}/packaging/gantry-registry.service @ONLY)
install(FILES ${CMAKE_BINARY_DIR}/packaging/gantry-registry.service DESTINATION lib/systemd/system)
install(FILES packaging/registry.conf DESTINATION ${CMAKE_INSTALL_DATADIR}/doc/gantry)
