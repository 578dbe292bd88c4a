// Dockerfile instructions that change a configuration: what `import --change` and `commit --change`
// take.
#pragma once

#include <string>
#include <vector>

#include "image/config.h"

namespace gantry::image {

// CMD, ENTRYPOINT, ENV, EXPOSE, HEALTHCHECK, LABEL, ONBUILD, STOPSIGNAL, USER, VOLUME and WORKDIR,
// in shell or JSON form where a Dockerfile has both; $NAME stands for what ENV or the configuration
// says. As in a Dockerfile an ENTRYPOINT takes away a CMD that no instruction before it gave.
// Errors are `invalid` and name the instruction.
Status apply_changes(ContainerConfig& config, const std::vector<std::string>& changes);

}  // namespace gantry::image
