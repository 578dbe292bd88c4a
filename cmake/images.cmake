# The images that come with Gantry, packed at build time: busybox, from Debian's busybox-static.
find_program(GANTRY_PYTHON python3 PATHS /usr/bin NO_DEFAULT_PATH REQUIRED)
set(busybox ${CMAKE_BINARY_DIR}/images/busybox.tar)
set(packer ${CMAKE_SOURCE_DIR}/tools/pack_image.py)
file(MAKE_DIRECTORY ${CMAKE_BINARY_DIR}/images)
add_custom_command(OUTPUT ${busybox} DEPENDS ${packer} /bin/busybox VERBATIM
  COMMAND ${GANTRY_PYTHON} ${packer} ${busybox} --oci --gzip --busybox --name busybox:latest
  COMMENT "Packing the built-in image busybox")
add_custom_target(gantry_images ALL DEPENDS ${busybox})
