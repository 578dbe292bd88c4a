// Checks of meaning on a Spec that need no kernel state: each error names the field and says why.
#pragma once

#include "base/result.h"
#include "libcontainer/spec.h"

namespace gantry::libcontainer {

enum class RootNeeded { yes, no };  // no: the root file system comes from a RootfsSource

Status check_spec(const Spec& spec, RootNeeded root);
Status check_process(const Process& process);
// 1–1024 characters of [A-Za-z0-9_+-.], not "." or "..".
Status check_id(const std::string& id);

struct NamespaceKind {
  std::string_view name;  // in config.json
  const char* file;       // in /proc/PID/ns
  int flag;               // CLONE_NEW*
};
const NamespaceKind* find_namespace(std::string_view name);
const Namespace* find_namespace(const Spec& spec, std::string_view name);
// RLIMIT_*'s number, or -1.
int rlimit_number(std::string_view name);
// The file of a sysctl below /proc/sys. When the first separator is a dot, dots and slashes change
// places: "net.ipv4.conf.eth0/1.forwarding" is "net/ipv4/conf/eth0.1/forwarding".
std::string sysctl_path(const std::string& key);

}  // namespace gantry::libcontainer
