// The JSON names of spec.h's fields. Included by spec.h; not for inclusion on its own.
#pragma once

#include "libcontainer/spec.h"

namespace gantry::json {

template <>
struct Schema<libcontainer::ConsoleSize> {
  static constexpr Field fields[] = {field<&libcontainer::ConsoleSize::height>("height", kRequired),
                                     field<&libcontainer::ConsoleSize::width>("width", kRequired)};
};

template <>
struct Schema<libcontainer::User> {
  static constexpr Field fields[] = {
      field<&libcontainer::User::uid>("uid"), field<&libcontainer::User::gid>("gid"),
      field<&libcontainer::User::umask>("umask", kOmitEmpty),
      field<&libcontainer::User::additional_gids>("additionalGids", kOmitEmpty),
      field<&libcontainer::User::username>("username", kOmitEmpty)};
};

template <>
struct Schema<libcontainer::Capabilities> {
  static constexpr Field fields[] = {
      field<&libcontainer::Capabilities::bounding>("bounding", kOmitEmpty),
      field<&libcontainer::Capabilities::effective>("effective", kOmitEmpty),
      field<&libcontainer::Capabilities::inheritable>("inheritable", kOmitEmpty),
      field<&libcontainer::Capabilities::permitted>("permitted", kOmitEmpty),
      field<&libcontainer::Capabilities::ambient>("ambient", kOmitEmpty)};
};

template <>
struct Schema<libcontainer::Rlimit> {
  static constexpr Field fields[] = {field<&libcontainer::Rlimit::type>("type", kRequired),
                                     field<&libcontainer::Rlimit::soft>("soft", kRequired),
                                     field<&libcontainer::Rlimit::hard>("hard", kRequired)};
};

template <>
struct Schema<libcontainer::IoPriority> {
  static constexpr Field fields[] = {
      field<&libcontainer::IoPriority::io_class>("class", kRequired),
      field<&libcontainer::IoPriority::priority>("priority", kOmitEmpty)};
};

template <>
struct Schema<libcontainer::Scheduler> {
  static constexpr Field fields[] = {
      field<&libcontainer::Scheduler::policy>("policy", kRequired),
      field<&libcontainer::Scheduler::nice>("nice", kOmitEmpty),
      field<&libcontainer::Scheduler::priority>("priority", kOmitEmpty),
      field<&libcontainer::Scheduler::flags>("flags", kOmitEmpty),
      field<&libcontainer::Scheduler::runtime>("runtime", kOmitEmpty),
      field<&libcontainer::Scheduler::deadline>("deadline", kOmitEmpty),
      field<&libcontainer::Scheduler::period>("period", kOmitEmpty)};
};

template <>
struct Schema<libcontainer::ExecCpuAffinity> {
  static constexpr Field fields[] = {
      field<&libcontainer::ExecCpuAffinity::initial>("initial", kOmitEmpty),
      field<&libcontainer::ExecCpuAffinity::final>("final", kOmitEmpty)};
};

template <>
struct Schema<libcontainer::Process> {
  static constexpr Field fields[] = {
      field<&libcontainer::Process::terminal>("terminal", kOmitEmpty),
      field<&libcontainer::Process::console_size>("consoleSize", kOmitEmpty),
      field<&libcontainer::Process::user>("user", kOmitEmpty),
      field<&libcontainer::Process::args>("args", kOmitEmpty),
      field<&libcontainer::Process::env>("env", kOmitEmpty),
      field<&libcontainer::Process::cwd>("cwd", kRequired),
      field<&libcontainer::Process::capabilities>("capabilities", kOmitEmpty),
      field<&libcontainer::Process::rlimits>("rlimits", kOmitEmpty),
      field<&libcontainer::Process::no_new_privileges>("noNewPrivileges", kOmitEmpty),
      field<&libcontainer::Process::apparmor_profile>("apparmorProfile", kOmitEmpty),
      field<&libcontainer::Process::oom_score_adj>("oomScoreAdj", kOmitEmpty),
      field<&libcontainer::Process::selinux_label>("selinuxLabel", kOmitEmpty),
      field<&libcontainer::Process::io_priority>("ioPriority", kOmitEmpty),
      field<&libcontainer::Process::scheduler>("scheduler", kOmitEmpty),
      field<&libcontainer::Process::exec_cpu_affinity>("execCPUAffinity", kOmitEmpty)};
};

template <>
struct Schema<libcontainer::Root> {
  static constexpr Field fields[] = {field<&libcontainer::Root::path>("path", kRequired),
                                     field<&libcontainer::Root::readonly>("readonly", kOmitEmpty)};
};

template <>
struct Schema<libcontainer::IdMapping> {
  static constexpr Field fields[] = {
      field<&libcontainer::IdMapping::container_id>("containerID", kRequired),
      field<&libcontainer::IdMapping::host_id>("hostID", kRequired),
      field<&libcontainer::IdMapping::size>("size", kRequired)};
};

template <>
struct Schema<libcontainer::Mount> {
  static constexpr Field fields[] = {
      field<&libcontainer::Mount::destination>("destination", kRequired),
      field<&libcontainer::Mount::type>("type", kOmitEmpty),
      field<&libcontainer::Mount::source>("source", kOmitEmpty),
      field<&libcontainer::Mount::options>("options", kOmitEmpty),
      field<&libcontainer::Mount::uid_mappings>("uidMappings", kOmitEmpty),
      field<&libcontainer::Mount::gid_mappings>("gidMappings", kOmitEmpty),
      field<&libcontainer::Mount::detached>("gantry.detached", kOmitEmpty)};
};

template <>
struct Schema<libcontainer::Hook> {
  static constexpr Field fields[] = {field<&libcontainer::Hook::path>("path", kRequired),
                                     field<&libcontainer::Hook::args>("args", kOmitEmpty),
                                     field<&libcontainer::Hook::env>("env", kOmitEmpty),
                                     field<&libcontainer::Hook::timeout>("timeout", kOmitEmpty)};
};

template <>
struct Schema<libcontainer::Hooks> {
  static constexpr Field fields[] = {
      field<&libcontainer::Hooks::prestart>("prestart", kOmitEmpty),
      field<&libcontainer::Hooks::create_runtime>("createRuntime", kOmitEmpty),
      field<&libcontainer::Hooks::create_container>("createContainer", kOmitEmpty),
      field<&libcontainer::Hooks::start_container>("startContainer", kOmitEmpty),
      field<&libcontainer::Hooks::poststart>("poststart", kOmitEmpty),
      field<&libcontainer::Hooks::poststop>("poststop", kOmitEmpty)};
};

template <>
struct Schema<libcontainer::Namespace> {
  static constexpr Field fields[] = {field<&libcontainer::Namespace::type>("type", kRequired),
                                     field<&libcontainer::Namespace::path>("path", kOmitEmpty)};
};

template <>
struct Schema<libcontainer::Device> {
  static constexpr Field fields[] = {
      field<&libcontainer::Device::path>("path", kRequired),
      field<&libcontainer::Device::type>("type", kRequired),
      field<&libcontainer::Device::major>("major", kOmitEmpty),
      field<&libcontainer::Device::minor>("minor", kOmitEmpty),
      field<&libcontainer::Device::file_mode>("fileMode", kOmitEmpty),
      field<&libcontainer::Device::uid>("uid", kOmitEmpty),
      field<&libcontainer::Device::gid>("gid", kOmitEmpty)};
};

template <>
struct Schema<libcontainer::NetDevice> {
  static constexpr Field fields[] = {field<&libcontainer::NetDevice::name>("name", kOmitEmpty)};
};

template <>
struct Schema<libcontainer::DeviceCgroup> {
  static constexpr Field fields[] = {
      field<&libcontainer::DeviceCgroup::allow>("allow", kRequired),
      field<&libcontainer::DeviceCgroup::type>("type", kOmitEmpty),
      field<&libcontainer::DeviceCgroup::major>("major", kOmitEmpty),
      field<&libcontainer::DeviceCgroup::minor>("minor", kOmitEmpty),
      field<&libcontainer::DeviceCgroup::access>("access", kOmitEmpty)};
};

template <>
struct Schema<libcontainer::MemoryResources> {
  static constexpr Field fields[] = {
      field<&libcontainer::MemoryResources::limit>("limit", kOmitEmpty),
      field<&libcontainer::MemoryResources::reservation>("reservation", kOmitEmpty),
      field<&libcontainer::MemoryResources::swap>("swap", kOmitEmpty),
      field<&libcontainer::MemoryResources::kernel>("kernel", kOmitEmpty),
      field<&libcontainer::MemoryResources::kernel_tcp>("kernelTCP", kOmitEmpty),
      field<&libcontainer::MemoryResources::swappiness>("swappiness", kOmitEmpty),
      field<&libcontainer::MemoryResources::disable_oom_killer>("disableOOMKiller", kOmitEmpty),
      field<&libcontainer::MemoryResources::use_hierarchy>("useHierarchy", kOmitEmpty),
      field<&libcontainer::MemoryResources::check_before_update>("checkBeforeUpdate", kOmitEmpty)};
};

template <>
struct Schema<libcontainer::CpuResources> {
  static constexpr Field fields[] = {
      field<&libcontainer::CpuResources::shares>("shares", kOmitEmpty),
      field<&libcontainer::CpuResources::quota>("quota", kOmitEmpty),
      field<&libcontainer::CpuResources::burst>("burst", kOmitEmpty),
      field<&libcontainer::CpuResources::period>("period", kOmitEmpty),
      field<&libcontainer::CpuResources::realtime_runtime>("realtimeRuntime", kOmitEmpty),
      field<&libcontainer::CpuResources::realtime_period>("realtimePeriod", kOmitEmpty),
      field<&libcontainer::CpuResources::cpus>("cpus", kOmitEmpty),
      field<&libcontainer::CpuResources::mems>("mems", kOmitEmpty),
      field<&libcontainer::CpuResources::idle>("idle", kOmitEmpty)};
};

template <>
struct Schema<libcontainer::PidsResources> {
  static constexpr Field fields[] = {
      field<&libcontainer::PidsResources::limit>("limit", kOmitEmpty)};
};

template <>
struct Schema<libcontainer::WeightDevice> {
  static constexpr Field fields[] = {
      field<&libcontainer::WeightDevice::major>("major", kRequired),
      field<&libcontainer::WeightDevice::minor>("minor", kRequired),
      field<&libcontainer::WeightDevice::weight>("weight", kOmitEmpty),
      field<&libcontainer::WeightDevice::leaf_weight>("leafWeight", kOmitEmpty)};
};

template <>
struct Schema<libcontainer::ThrottleDevice> {
  static constexpr Field fields[] = {
      field<&libcontainer::ThrottleDevice::major>("major", kRequired),
      field<&libcontainer::ThrottleDevice::minor>("minor", kRequired),
      field<&libcontainer::ThrottleDevice::rate>("rate", kRequired)};
};

template <>
struct Schema<libcontainer::BlockIoResources> {
  static constexpr Field fields[] = {
      field<&libcontainer::BlockIoResources::weight>("weight", kOmitEmpty),
      field<&libcontainer::BlockIoResources::leaf_weight>("leafWeight", kOmitEmpty),
      field<&libcontainer::BlockIoResources::weight_device>("weightDevice", kOmitEmpty),
      field<&libcontainer::BlockIoResources::throttle_read_bps_device>("throttleReadBpsDevice",
                                                                       kOmitEmpty),
      field<&libcontainer::BlockIoResources::throttle_write_bps_device>("throttleWriteBpsDevice",
                                                                        kOmitEmpty),
      field<&libcontainer::BlockIoResources::throttle_read_iops_device>("throttleReadIOPSDevice",
                                                                        kOmitEmpty),
      field<&libcontainer::BlockIoResources::throttle_write_iops_device>("throttleWriteIOPSDevice",
                                                                         kOmitEmpty)};
};

template <>
struct Schema<libcontainer::HugepageLimit> {
  static constexpr Field fields[] = {
      field<&libcontainer::HugepageLimit::page_size>("pageSize", kRequired),
      field<&libcontainer::HugepageLimit::limit>("limit", kRequired)};
};

template <>
struct Schema<libcontainer::InterfacePriority> {
  static constexpr Field fields[] = {
      field<&libcontainer::InterfacePriority::name>("name", kRequired),
      field<&libcontainer::InterfacePriority::priority>("priority", kRequired)};
};

template <>
struct Schema<libcontainer::NetworkResources> {
  static constexpr Field fields[] = {
      field<&libcontainer::NetworkResources::class_id>("classID", kOmitEmpty),
      field<&libcontainer::NetworkResources::priorities>("priorities", kOmitEmpty)};
};

template <>
struct Schema<libcontainer::RdmaLimit> {
  static constexpr Field fields[] = {
      field<&libcontainer::RdmaLimit::hca_handles>("hcaHandles", kOmitEmpty),
      field<&libcontainer::RdmaLimit::hca_objects>("hcaObjects", kOmitEmpty)};
};

template <>
struct Schema<libcontainer::Resources> {
  static constexpr Field fields[] = {
      field<&libcontainer::Resources::devices>("devices", kOmitEmpty),
      field<&libcontainer::Resources::memory>("memory", kOmitEmpty),
      field<&libcontainer::Resources::cpu>("cpu", kOmitEmpty),
      field<&libcontainer::Resources::pids>("pids", kOmitEmpty),
      field<&libcontainer::Resources::block_io>("blockIO", kOmitEmpty),
      field<&libcontainer::Resources::hugepage_limits>("hugepageLimits", kOmitEmpty),
      field<&libcontainer::Resources::network>("network", kOmitEmpty),
      field<&libcontainer::Resources::rdma>("rdma", kOmitEmpty),
      field<&libcontainer::Resources::unified>("unified", kOmitEmpty)};
};

template <>
struct Schema<libcontainer::SyscallArg> {
  static constexpr Field fields[] = {
      field<&libcontainer::SyscallArg::index>("index", kRequired),
      field<&libcontainer::SyscallArg::value>("value", kRequired),
      field<&libcontainer::SyscallArg::value_two>("valueTwo", kOmitEmpty),
      field<&libcontainer::SyscallArg::op>("op", kRequired)};
};

template <>
struct Schema<libcontainer::Syscall> {
  static constexpr Field fields[] = {
      field<&libcontainer::Syscall::names>("names", kRequired),
      field<&libcontainer::Syscall::action>("action", kRequired),
      field<&libcontainer::Syscall::errno_ret>("errnoRet", kOmitEmpty),
      field<&libcontainer::Syscall::args>("args", kOmitEmpty)};
};

template <>
struct Schema<libcontainer::Seccomp> {
  static constexpr Field fields[] = {
      field<&libcontainer::Seccomp::default_action>("defaultAction", kRequired),
      field<&libcontainer::Seccomp::default_errno_ret>("defaultErrnoRet", kOmitEmpty),
      field<&libcontainer::Seccomp::architectures>("architectures", kOmitEmpty),
      field<&libcontainer::Seccomp::flags>("flags", kOmitEmpty),
      field<&libcontainer::Seccomp::listener_path>("listenerPath", kOmitEmpty),
      field<&libcontainer::Seccomp::listener_metadata>("listenerMetadata", kOmitEmpty),
      field<&libcontainer::Seccomp::syscalls>("syscalls", kOmitEmpty)};
};

template <>
struct Schema<libcontainer::IntelRdt> {
  static constexpr Field fields[] = {
      field<&libcontainer::IntelRdt::clos_id>("closID", kOmitEmpty),
      field<&libcontainer::IntelRdt::schemata>("schemata", kOmitEmpty),
      field<&libcontainer::IntelRdt::l3_cache_schema>("l3CacheSchema", kOmitEmpty),
      field<&libcontainer::IntelRdt::mem_bw_schema>("memBwSchema", kOmitEmpty),
      field<&libcontainer::IntelRdt::enable_monitoring>("enableMonitoring", kOmitEmpty)};
};

template <>
struct Schema<libcontainer::MemoryPolicy> {
  static constexpr Field fields[] = {
      field<&libcontainer::MemoryPolicy::mode>("mode", kOmitEmpty),
      field<&libcontainer::MemoryPolicy::nodes>("nodes", kOmitEmpty),
      field<&libcontainer::MemoryPolicy::flags>("flags", kOmitEmpty)};
};

template <>
struct Schema<libcontainer::Personality> {
  static constexpr Field fields[] = {
      field<&libcontainer::Personality::domain>("domain", kOmitEmpty),
      field<&libcontainer::Personality::flags>("flags", kOmitEmpty)};
};

template <>
struct Schema<libcontainer::TimeOffset> {
  static constexpr Field fields[] = {
      field<&libcontainer::TimeOffset::secs>("secs", kOmitEmpty),
      field<&libcontainer::TimeOffset::nanosecs>("nanosecs", kOmitEmpty)};
};

template <>
struct Schema<libcontainer::Linux> {
  static constexpr Field fields[] = {
      field<&libcontainer::Linux::uid_mappings>("uidMappings", kOmitEmpty),
      field<&libcontainer::Linux::gid_mappings>("gidMappings", kOmitEmpty),
      field<&libcontainer::Linux::sysctl>("sysctl", kOmitEmpty),
      field<&libcontainer::Linux::resources>("resources", kOmitEmpty),
      field<&libcontainer::Linux::cgroups_path>("cgroupsPath", kOmitEmpty),
      field<&libcontainer::Linux::namespaces>("namespaces", kOmitEmpty),
      field<&libcontainer::Linux::devices>("devices", kOmitEmpty),
      field<&libcontainer::Linux::net_devices>("netDevices", kOmitEmpty),
      field<&libcontainer::Linux::seccomp>("seccomp", kOmitEmpty),
      field<&libcontainer::Linux::rootfs_propagation>("rootfsPropagation", kOmitEmpty),
      field<&libcontainer::Linux::masked_paths>("maskedPaths", kOmitEmpty),
      field<&libcontainer::Linux::readonly_paths>("readonlyPaths", kOmitEmpty),
      field<&libcontainer::Linux::mount_label>("mountLabel", kOmitEmpty),
      field<&libcontainer::Linux::intel_rdt>("intelRdt", kOmitEmpty),
      field<&libcontainer::Linux::memory_policy>("memoryPolicy", kOmitEmpty),
      field<&libcontainer::Linux::personality>("personality", kOmitEmpty),
      field<&libcontainer::Linux::time_offsets>("timeOffsets", kOmitEmpty)};
};

template <>
struct Schema<libcontainer::Spec> {
  static constexpr Field fields[] = {
      field<&libcontainer::Spec::oci_version>("ociVersion", kRequired),
      field<&libcontainer::Spec::process>("process", kOmitEmpty),
      field<&libcontainer::Spec::root>("root", kOmitEmpty),
      field<&libcontainer::Spec::hostname>("hostname", kOmitEmpty),
      field<&libcontainer::Spec::domainname>("domainname", kOmitEmpty),
      field<&libcontainer::Spec::mounts>("mounts", kOmitEmpty),
      field<&libcontainer::Spec::hooks>("hooks", kOmitEmpty),
      field<&libcontainer::Spec::annotations>("annotations", kOmitEmpty),
      field<&libcontainer::Spec::linux_section>("linux", kOmitEmpty)};
};

}  // namespace gantry::json
