// What is wrong with a container's configuration, in Docker's words, before anything is made. Pure.
#pragma once

#include <string>

#include "base/result.h"
#include "daemon/api/container_config.h"
#include "daemon/options.h"
#include "daemon/system.h"
#include "image/config.h"

namespace gantry::daemon {

// Takes from the image what the client left out: Docker's rules for env, labels, ports, volumes,
// command and entrypoint, working directory, user, stop signal, shell, healthcheck.
void merge_image_config(api::ContainerConfig& config, const image::ImageConfig& image);
// Fills in what Docker fills in (shared memory, swap, modes, log driver) before it is stored.
void set_defaults(api::HostConfig& host_config, const Options& options);
// Takes out what this kernel has no limit for and Docker does without, with Docker's warnings.
api::Strings discard_unsupported(api::HostConfig& host_config, const LimitSupport& support);
// `invalid` for input that can never work, `unsupported` for what this engine cannot do: nothing is
// accepted and then ignored. Warnings say what has no effect here.
Result<api::Strings> validate(const api::ContainerConfig& config,
                              const api::HostConfig& host_config);

// --storage-opt size=…: what a container may add to its image, in bytes; 0: no limit. `invalid` for
// other options.
Result<uint64_t> storage_size(const api::HostConfig& host_config);

// "TERM", "SIGTERM", "15" -> 15; `invalid` otherwise.
Result<int> parse_signal(const std::string& text);

}  // namespace gantry::daemon
