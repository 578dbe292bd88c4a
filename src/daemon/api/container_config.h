// The Engine API's container configuration, as clients send it and `inspect` shows it (Engine
// API 1.51: ContainerConfig, HostConfig, NetworkingConfig). Names and emptiness rules are Docker's;
// a field that is null when absent there is optional or kNullEmpty here. Values; not thread-safe.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"

namespace gantry::daemon::api {

using Strings = std::vector<std::string>;
using StringMap = std::map<std::string, std::string>;

// A list that clients may also send as one string (Cmd, Entrypoint), as Docker's strslice does.
struct StringOrList {
  std::optional<Strings> items;  // absent: null
  bool has_items() const { return items && !items->empty(); }
};

struct HealthConfig {
  Strings Test;
  int64_t Interval = 0, Timeout = 0, StartPeriod = 0, StartInterval = 0;  // nanoseconds
  int Retries = 0;
};

struct ContainerConfig {
  std::string Hostname, Domainname, User;
  bool AttachStdin = false, AttachStdout = false, AttachStderr = false;
  std::map<std::string, json::object> ExposedPorts;
  bool Tty = false, OpenStdin = false, StdinOnce = false;
  Strings Env;
  StringOrList Cmd;
  std::optional<HealthConfig> Healthcheck;
  bool ArgsEscaped = false;
  std::string Image;
  std::map<std::string, json::object> Volumes;
  std::string WorkingDir;
  StringOrList Entrypoint;
  bool NetworkDisabled = false;
  std::string MacAddress;
  Strings OnBuild;
  StringMap Labels;
  std::string StopSignal;
  std::optional<int> StopTimeout;  // seconds; -1 waits for ever
  Strings Shell;
};

struct PortBinding {
  std::string HostIp, HostPort;
};
// "80/tcp" -> bindings; null bindings of an exposed, unpublished port are an absent optional.
using PortMap = std::map<std::string, std::optional<std::vector<PortBinding>>>;

struct LogConfig {
  std::string Type;
  StringMap Config;
};
struct RestartPolicy {
  std::string Name;
  int MaximumRetryCount = 0;
};
struct WeightDevice {
  std::string Path;
  uint16_t Weight = 0;
};
struct ThrottleDevice {
  std::string Path;
  uint64_t Rate = 0;
};
struct DeviceMapping {
  std::string PathOnHost, PathInContainer, CgroupPermissions;
};
struct DeviceRequest {
  std::string Driver;
  int Count = 0;
  Strings DeviceIDs;
  std::vector<Strings> Capabilities;
  StringMap Options;
};
struct Ulimit {
  std::string Name;
  int64_t Hard = 0, Soft = 0;
};
struct BindOptions {
  std::string Propagation;
  bool NonRecursive = false, CreateMountpoint = false;
  bool ReadOnlyNonRecursive = false, ReadOnlyForceRecursive = false;
};
struct VolumeDriverConfig {
  std::string Name;
  StringMap Options;
};
struct VolumeOptions {
  bool NoCopy = false;
  StringMap Labels;
  std::optional<VolumeDriverConfig> DriverConfig;
  std::string Subpath;
};
struct ImageOptions {
  std::string Subpath;
};
struct TmpfsOptions {
  int64_t SizeBytes = 0;
  uint32_t Mode = 0;
  std::vector<Strings> Options;
};
struct Mount {
  std::string Type, Source, Target;
  bool ReadOnly = false;
  std::string Consistency;
  std::optional<BindOptions> bind;
  std::optional<VolumeOptions> volume;
  std::optional<ImageOptions> image;
  std::optional<TmpfsOptions> tmpfs;
};

struct HostConfig {
  Strings Binds;
  std::string ContainerIDFile;
  LogConfig log_config;
  std::string NetworkMode;
  PortMap PortBindings;
  RestartPolicy restart_policy;
  bool AutoRemove = false;
  std::string VolumeDriver;
  Strings VolumesFrom;
  std::optional<std::vector<uint32_t>> ConsoleSize;  // [height, width]
  StringMap Annotations;
  Strings CapAdd, CapDrop;
  std::string CgroupnsMode;
  Strings Dns, DnsOptions, DnsSearch, ExtraHosts, GroupAdd;
  std::string IpcMode, Cgroup;
  Strings Links;
  int OomScoreAdj = 0;
  std::string PidMode;
  bool Privileged = false, PublishAllPorts = false, ReadonlyRootfs = false;
  Strings SecurityOpt;
  StringMap StorageOpt, Tmpfs;
  std::string UTSMode, UsernsMode;
  int64_t ShmSize = 0;
  StringMap Sysctls;
  std::string Runtime;
  std::string Isolation;
  int64_t CpuShares = 0, Memory = 0, NanoCpus = 0;
  std::string CgroupParent;
  uint16_t BlkioWeight = 0;
  std::vector<WeightDevice> BlkioWeightDevice;
  std::vector<ThrottleDevice> BlkioDeviceReadBps, BlkioDeviceWriteBps;
  std::vector<ThrottleDevice> BlkioDeviceReadIOps, BlkioDeviceWriteIOps;
  int64_t CpuPeriod = 0, CpuQuota = 0, CpuRealtimePeriod = 0, CpuRealtimeRuntime = 0;
  std::string CpusetCpus, CpusetMems;
  std::vector<DeviceMapping> Devices;
  Strings DeviceCgroupRules;
  std::vector<DeviceRequest> DeviceRequests;
  int64_t MemoryReservation = 0, MemorySwap = 0;
  int64_t KernelMemory = 0, KernelMemoryTCP = 0;  // of clients before API 1.42
  std::optional<int64_t> MemorySwappiness;
  std::optional<bool> OomKillDisable;
  std::optional<int64_t> PidsLimit;
  std::vector<Ulimit> Ulimits;
  int64_t CpuCount = 0, CpuPercent = 0, IOMaximumIOps = 0, IOMaximumBandwidth = 0;
  std::vector<Mount> Mounts;
  std::optional<Strings> MaskedPaths, ReadonlyPaths;
  std::optional<bool> Init;
};

struct EndpointIpamConfig {
  std::string IPv4Address, IPv6Address;
  Strings LinkLocalIPs;
};
struct EndpointSettings {
  std::optional<EndpointIpamConfig> IPAMConfig;
  Strings Links, Aliases;
  std::string MacAddress;
  StringMap DriverOpts;
  int64_t GwPriority = 0;
  std::string NetworkID, EndpointID, Gateway, IPAddress;
  int IPPrefixLen = 0;
  std::string IPv6Gateway, GlobalIPv6Address;
  int GlobalIPv6PrefixLen = 0;
  Strings DNSNames;
};
struct NetworkingConfig {
  std::map<std::string, EndpointSettings> EndpointsConfig;
};

// The body of POST /containers/create: a ContainerConfig with two more members beside its own.
struct CreateBody {
  ContainerConfig config;
  HostConfig host_config;
  NetworkingConfig networking_config;
};
Result<CreateBody> parse_create_body(const json::value& body);

}  // namespace gantry::daemon::api

namespace gantry::json {

template <>
struct CodecOf<daemon::api::StringOrList> {
  static Status decode(void* out, const value& in);
  static value encode(const void* in);
  static bool empty(const void* in);
};

#define GANTRY_FIELDS(type) \
  template <>               \
  struct Schema<daemon::api::type>

GANTRY_FIELDS(HealthConfig) {
  using T = daemon::api::HealthConfig;
  static constexpr Field fields[] = {field<&T::Test>("Test", kOmitEmpty),
                                     field<&T::Interval>("Interval", kOmitEmpty),
                                     field<&T::Timeout>("Timeout", kOmitEmpty),
                                     field<&T::StartPeriod>("StartPeriod", kOmitEmpty),
                                     field<&T::StartInterval>("StartInterval", kOmitEmpty),
                                     field<&T::Retries>("Retries", kOmitEmpty)};
};
GANTRY_FIELDS(ContainerConfig) {
  using T = daemon::api::ContainerConfig;
  static constexpr Field fields[] = {field<&T::Hostname>("Hostname"),
                                     field<&T::Domainname>("Domainname"),
                                     field<&T::User>("User"),
                                     field<&T::AttachStdin>("AttachStdin"),
                                     field<&T::AttachStdout>("AttachStdout"),
                                     field<&T::AttachStderr>("AttachStderr"),
                                     field<&T::ExposedPorts>("ExposedPorts", kOmitEmpty),
                                     field<&T::Tty>("Tty"),
                                     field<&T::OpenStdin>("OpenStdin"),
                                     field<&T::StdinOnce>("StdinOnce"),
                                     field<&T::Env>("Env", kNullEmpty),
                                     field<&T::Cmd>("Cmd"),
                                     field<&T::Healthcheck>("Healthcheck", kOmitEmpty),
                                     field<&T::ArgsEscaped>("ArgsEscaped", kOmitEmpty),
                                     field<&T::Image>("Image"),
                                     field<&T::Volumes>("Volumes", kNullEmpty),
                                     field<&T::WorkingDir>("WorkingDir"),
                                     field<&T::Entrypoint>("Entrypoint"),
                                     field<&T::NetworkDisabled>("NetworkDisabled", kOmitEmpty),
                                     field<&T::MacAddress>("MacAddress", kOmitEmpty),
                                     field<&T::OnBuild>("OnBuild", kNullEmpty),
                                     field<&T::Labels>("Labels"),
                                     field<&T::StopSignal>("StopSignal", kOmitEmpty),
                                     field<&T::StopTimeout>("StopTimeout", kOmitEmpty),
                                     field<&T::Shell>("Shell", kOmitEmpty)};
};
GANTRY_FIELDS(PortBinding) {
  using T = daemon::api::PortBinding;
  static constexpr Field fields[] = {field<&T::HostIp>("HostIp"), field<&T::HostPort>("HostPort")};
};
GANTRY_FIELDS(LogConfig) {
  using T = daemon::api::LogConfig;
  static constexpr Field fields[] = {field<&T::Type>("Type"), field<&T::Config>("Config")};
};
GANTRY_FIELDS(RestartPolicy) {
  using T = daemon::api::RestartPolicy;
  static constexpr Field fields[] = {field<&T::Name>("Name"),
                                     field<&T::MaximumRetryCount>("MaximumRetryCount")};
};
GANTRY_FIELDS(WeightDevice) {
  using T = daemon::api::WeightDevice;
  static constexpr Field fields[] = {field<&T::Path>("Path"), field<&T::Weight>("Weight")};
};
GANTRY_FIELDS(ThrottleDevice) {
  using T = daemon::api::ThrottleDevice;
  static constexpr Field fields[] = {field<&T::Path>("Path"), field<&T::Rate>("Rate")};
};
GANTRY_FIELDS(DeviceMapping) {
  using T = daemon::api::DeviceMapping;
  static constexpr Field fields[] = {field<&T::PathOnHost>("PathOnHost"),
                                     field<&T::PathInContainer>("PathInContainer"),
                                     field<&T::CgroupPermissions>("CgroupPermissions")};
};
GANTRY_FIELDS(DeviceRequest) {
  using T = daemon::api::DeviceRequest;
  static constexpr Field fields[] = {field<&T::Driver>("Driver"), field<&T::Count>("Count"),
                                     field<&T::DeviceIDs>("DeviceIDs", kNullEmpty),
                                     field<&T::Capabilities>("Capabilities"),
                                     field<&T::Options>("Options")};
};
GANTRY_FIELDS(Ulimit) {
  using T = daemon::api::Ulimit;
  static constexpr Field fields[] = {field<&T::Name>("Name"), field<&T::Hard>("Hard"),
                                     field<&T::Soft>("Soft")};
};
GANTRY_FIELDS(BindOptions) {
  using T = daemon::api::BindOptions;
  static constexpr Field fields[] = {
      field<&T::Propagation>("Propagation", kOmitEmpty),
      field<&T::NonRecursive>("NonRecursive", kOmitEmpty),
      field<&T::CreateMountpoint>("CreateMountpoint", kOmitEmpty),
      field<&T::ReadOnlyNonRecursive>("ReadOnlyNonRecursive", kOmitEmpty),
      field<&T::ReadOnlyForceRecursive>("ReadOnlyForceRecursive", kOmitEmpty)};
};
GANTRY_FIELDS(VolumeDriverConfig) {
  using T = daemon::api::VolumeDriverConfig;
  static constexpr Field fields[] = {field<&T::Name>("Name", kOmitEmpty),
                                     field<&T::Options>("Options", kOmitEmpty)};
};
GANTRY_FIELDS(VolumeOptions) {
  using T = daemon::api::VolumeOptions;
  static constexpr Field fields[] = {field<&T::NoCopy>("NoCopy", kOmitEmpty),
                                     field<&T::Labels>("Labels", kOmitEmpty),
                                     field<&T::DriverConfig>("DriverConfig", kOmitEmpty),
                                     field<&T::Subpath>("Subpath", kOmitEmpty)};
};
GANTRY_FIELDS(ImageOptions) {
  using T = daemon::api::ImageOptions;
  static constexpr Field fields[] = {field<&T::Subpath>("Subpath", kOmitEmpty)};
};
GANTRY_FIELDS(TmpfsOptions) {
  using T = daemon::api::TmpfsOptions;
  static constexpr Field fields[] = {field<&T::SizeBytes>("SizeBytes", kOmitEmpty),
                                     field<&T::Mode>("Mode", kOmitEmpty),
                                     field<&T::Options>("Options", kOmitEmpty)};
};
GANTRY_FIELDS(Mount) {
  using T = daemon::api::Mount;
  static constexpr Field fields[] = {field<&T::Type>("Type", kOmitEmpty),
                                     field<&T::Source>("Source", kOmitEmpty),
                                     field<&T::Target>("Target", kOmitEmpty),
                                     field<&T::ReadOnly>("ReadOnly", kOmitEmpty),
                                     field<&T::Consistency>("Consistency", kOmitEmpty),
                                     field<&T::bind>("BindOptions", kOmitEmpty),
                                     field<&T::volume>("VolumeOptions", kOmitEmpty),
                                     field<&T::image>("ImageOptions", kOmitEmpty),
                                     field<&T::tmpfs>("TmpfsOptions", kOmitEmpty)};
};
GANTRY_FIELDS(HostConfig) {
  using T = daemon::api::HostConfig;
  static constexpr Field fields[] = {field<&T::Binds>("Binds", kNullEmpty),
                                     field<&T::ContainerIDFile>("ContainerIDFile"),
                                     field<&T::log_config>("LogConfig"),
                                     field<&T::NetworkMode>("NetworkMode"),
                                     field<&T::PortBindings>("PortBindings"),
                                     field<&T::restart_policy>("RestartPolicy"),
                                     field<&T::AutoRemove>("AutoRemove"),
                                     field<&T::VolumeDriver>("VolumeDriver"),
                                     field<&T::VolumesFrom>("VolumesFrom", kNullEmpty),
                                     field<&T::ConsoleSize>("ConsoleSize", kOmitEmpty),
                                     field<&T::Annotations>("Annotations", kOmitEmpty),
                                     field<&T::CapAdd>("CapAdd", kNullEmpty),
                                     field<&T::CapDrop>("CapDrop", kNullEmpty),
                                     field<&T::CgroupnsMode>("CgroupnsMode"),
                                     field<&T::Dns>("Dns"),
                                     field<&T::DnsOptions>("DnsOptions"),
                                     field<&T::DnsSearch>("DnsSearch"),
                                     field<&T::ExtraHosts>("ExtraHosts", kNullEmpty),
                                     field<&T::GroupAdd>("GroupAdd", kNullEmpty),
                                     field<&T::IpcMode>("IpcMode"),
                                     field<&T::Cgroup>("Cgroup"),
                                     field<&T::Links>("Links", kNullEmpty),
                                     field<&T::OomScoreAdj>("OomScoreAdj"),
                                     field<&T::PidMode>("PidMode"),
                                     field<&T::Privileged>("Privileged"),
                                     field<&T::PublishAllPorts>("PublishAllPorts"),
                                     field<&T::ReadonlyRootfs>("ReadonlyRootfs"),
                                     field<&T::SecurityOpt>("SecurityOpt", kNullEmpty),
                                     field<&T::StorageOpt>("StorageOpt", kOmitEmpty),
                                     field<&T::Tmpfs>("Tmpfs", kOmitEmpty),
                                     field<&T::UTSMode>("UTSMode"),
                                     field<&T::UsernsMode>("UsernsMode"),
                                     field<&T::ShmSize>("ShmSize"),
                                     field<&T::Sysctls>("Sysctls", kOmitEmpty),
                                     field<&T::Runtime>("Runtime", kOmitEmpty),
                                     field<&T::Isolation>("Isolation"),
                                     field<&T::CpuShares>("CpuShares"),
                                     field<&T::Memory>("Memory"),
                                     field<&T::NanoCpus>("NanoCpus"),
                                     field<&T::CgroupParent>("CgroupParent"),
                                     field<&T::BlkioWeight>("BlkioWeight"),
                                     field<&T::BlkioWeightDevice>("BlkioWeightDevice"),
                                     field<&T::BlkioDeviceReadBps>("BlkioDeviceReadBps"),
                                     field<&T::BlkioDeviceWriteBps>("BlkioDeviceWriteBps"),
                                     field<&T::BlkioDeviceReadIOps>("BlkioDeviceReadIOps"),
                                     field<&T::BlkioDeviceWriteIOps>("BlkioDeviceWriteIOps"),
                                     field<&T::CpuPeriod>("CpuPeriod"),
                                     field<&T::CpuQuota>("CpuQuota"),
                                     field<&T::CpuRealtimePeriod>("CpuRealtimePeriod"),
                                     field<&T::CpuRealtimeRuntime>("CpuRealtimeRuntime"),
                                     field<&T::CpusetCpus>("CpusetCpus"),
                                     field<&T::CpusetMems>("CpusetMems"),
                                     field<&T::Devices>("Devices"),
                                     field<&T::DeviceCgroupRules>("DeviceCgroupRules", kNullEmpty),
                                     field<&T::DeviceRequests>("DeviceRequests", kNullEmpty),
                                     field<&T::MemoryReservation>("MemoryReservation"),
                                     field<&T::MemorySwap>("MemorySwap"),
                                     field<&T::KernelMemory>("KernelMemory", kOmitEmpty),
                                     field<&T::KernelMemoryTCP>("KernelMemoryTCP", kOmitEmpty),
                                     field<&T::MemorySwappiness>("MemorySwappiness"),
                                     field<&T::OomKillDisable>("OomKillDisable"),
                                     field<&T::PidsLimit>("PidsLimit"),
                                     field<&T::Ulimits>("Ulimits"),
                                     field<&T::CpuCount>("CpuCount"),
                                     field<&T::CpuPercent>("CpuPercent"),
                                     field<&T::IOMaximumIOps>("IOMaximumIOps"),
                                     field<&T::IOMaximumBandwidth>("IOMaximumBandwidth"),
                                     field<&T::Mounts>("Mounts", kOmitEmpty),
                                     field<&T::MaskedPaths>("MaskedPaths"),
                                     field<&T::ReadonlyPaths>("ReadonlyPaths"),
                                     field<&T::Init>("Init", kOmitEmpty)};
};
GANTRY_FIELDS(EndpointIpamConfig) {
  using T = daemon::api::EndpointIpamConfig;
  static constexpr Field fields[] = {field<&T::IPv4Address>("IPv4Address", kOmitEmpty),
                                     field<&T::IPv6Address>("IPv6Address", kOmitEmpty),
                                     field<&T::LinkLocalIPs>("LinkLocalIPs", kOmitEmpty)};
};
GANTRY_FIELDS(EndpointSettings) {
  using T = daemon::api::EndpointSettings;
  static constexpr Field fields[] = {field<&T::IPAMConfig>("IPAMConfig"),
                                     field<&T::Links>("Links", kNullEmpty),
                                     field<&T::Aliases>("Aliases", kNullEmpty),
                                     field<&T::MacAddress>("MacAddress"),
                                     field<&T::DriverOpts>("DriverOpts", kNullEmpty),
                                     field<&T::GwPriority>("GwPriority"),
                                     field<&T::NetworkID>("NetworkID"),
                                     field<&T::EndpointID>("EndpointID"),
                                     field<&T::Gateway>("Gateway"),
                                     field<&T::IPAddress>("IPAddress"),
                                     field<&T::IPPrefixLen>("IPPrefixLen"),
                                     field<&T::IPv6Gateway>("IPv6Gateway"),
                                     field<&T::GlobalIPv6Address>("GlobalIPv6Address"),
                                     field<&T::GlobalIPv6PrefixLen>("GlobalIPv6PrefixLen"),
                                     field<&T::DNSNames>("DNSNames", kNullEmpty)};
};
GANTRY_FIELDS(NetworkingConfig) {
  using T = daemon::api::NetworkingConfig;
  static constexpr Field fields[] = {field<&T::EndpointsConfig>("EndpointsConfig")};
};
GANTRY_FIELDS(CreateBody) {
  using T = daemon::api::CreateBody;
  static constexpr Field fields[] = {field<&T::config>("Config"),
                                     field<&T::host_config>("HostConfig"),
                                     field<&T::networking_config>("NetworkingConfig")};
};

}  // namespace gantry::json
