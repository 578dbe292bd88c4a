// What checkpoint and restore by CRIU are told, after runc's options of the same names.
#pragma once

#include <string>

#include "base/result.h"
#include "libcontainer/container.h"

namespace gantry::libcontainer {

struct CriuOptions {
  std::string image_path;  // directory of the images; made (0700) by a checkpoint
  std::string work_path;   // of logs and pid files; "" is image_path
  bool tcp_established = false;
  bool ext_unix_sk = false;
  bool shell_job = false;
  bool file_locks = false;
  bool auto_dedup = false;
  bool link_remap = false;
  bool empty_network = false;  // leave the network namespace empty
  std::string manage_cgroups;  // "", soft, full, strict, ignore
};

struct CheckpointOptions : CriuOptions {
  std::string parent_path;  // of an earlier pre-dump, relative to image_path
  bool leave_running = false;
  bool pre_dump = false;  // memory only, and the container goes on
  bool tcp_skip_in_flight = false;
};

struct RestoreOptions : CriuOptions {
  std::string lsm_profile;  // "apparmor:NAME" or "selinux:LABEL" in place of the one dumped
};

}  // namespace gantry::libcontainer
