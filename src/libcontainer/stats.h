// Resource use of a container, read from its cgroups; the parts that are absent could not be read
// (no such controller). Names follow `runc events --stats`.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"

namespace gantry::libcontainer {

struct CpuThrottling {
  uint64_t periods = 0;
  uint64_t throttled_periods = 0;
  uint64_t throttled_time = 0;  // ns
};
struct CpuUsage {
  uint64_t total = 0;             // ns
  uint64_t kernel = 0;            // ns
  uint64_t user = 0;              // ns
  std::vector<uint64_t> per_cpu;  // ns; v1 only
};
struct CpuStats {
  CpuUsage usage;
  CpuThrottling throttling;
};
struct MemoryEntry {
  uint64_t usage = 0;  // bytes
  uint64_t max = 0;
  uint64_t failcnt = 0;
  uint64_t limit = 0;
};
struct MemoryStats {
  uint64_t cache = 0;  // bytes
  MemoryEntry usage;
  MemoryEntry swap;
  std::map<std::string, uint64_t> raw;  // memory.stat
};
struct PidsStats {
  uint64_t current = 0;
  uint64_t limit = 0;  // 0: none
};
struct BlkioEntry {
  uint64_t major = 0;
  uint64_t minor = 0;
  std::string op;  // Read, Write, …
  uint64_t value = 0;
};
struct BlkioStats {
  std::vector<BlkioEntry> io_service_bytes;
  std::vector<BlkioEntry> io_serviced;
};

struct Stats {
  std::optional<CpuStats> cpu;
  std::optional<MemoryStats> memory;
  std::optional<PidsStats> pids;
  std::optional<BlkioStats> blkio;
};

}  // namespace gantry::libcontainer

namespace gantry::json {

template <>
struct Schema<libcontainer::CpuThrottling> {
  static constexpr Field fields[] = {
      field<&libcontainer::CpuThrottling::periods>("periods", kOmitEmpty),
      field<&libcontainer::CpuThrottling::throttled_periods>("throttledPeriods", kOmitEmpty),
      field<&libcontainer::CpuThrottling::throttled_time>("throttledTime", kOmitEmpty)};
};
template <>
struct Schema<libcontainer::CpuUsage> {
  static constexpr Field fields[] = {field<&libcontainer::CpuUsage::total>("total"),
                                     field<&libcontainer::CpuUsage::per_cpu>("percpu", kOmitEmpty),
                                     field<&libcontainer::CpuUsage::kernel>("kernel"),
                                     field<&libcontainer::CpuUsage::user>("user")};
};
template <>
struct Schema<libcontainer::CpuStats> {
  static constexpr Field fields[] = {field<&libcontainer::CpuStats::usage>("usage"),
                                     field<&libcontainer::CpuStats::throttling>("throttling")};
};
template <>
struct Schema<libcontainer::MemoryEntry> {
  static constexpr Field fields[] = {field<&libcontainer::MemoryEntry::limit>("limit"),
                                     field<&libcontainer::MemoryEntry::usage>("usage", kOmitEmpty),
                                     field<&libcontainer::MemoryEntry::max>("max", kOmitEmpty),
                                     field<&libcontainer::MemoryEntry::failcnt>("failcnt")};
};
template <>
struct Schema<libcontainer::MemoryStats> {
  static constexpr Field fields[] = {field<&libcontainer::MemoryStats::cache>("cache", kOmitEmpty),
                                     field<&libcontainer::MemoryStats::usage>("usage"),
                                     field<&libcontainer::MemoryStats::swap>("swap"),
                                     field<&libcontainer::MemoryStats::raw>("raw", kOmitEmpty)};
};
template <>
struct Schema<libcontainer::PidsStats> {
  static constexpr Field fields[] = {
      field<&libcontainer::PidsStats::current>("current", kOmitEmpty),
      field<&libcontainer::PidsStats::limit>("limit", kOmitEmpty)};
};
template <>
struct Schema<libcontainer::BlkioEntry> {
  static constexpr Field fields[] = {field<&libcontainer::BlkioEntry::major>("major"),
                                     field<&libcontainer::BlkioEntry::minor>("minor"),
                                     field<&libcontainer::BlkioEntry::op>("op", kOmitEmpty),
                                     field<&libcontainer::BlkioEntry::value>("value")};
};
template <>
struct Schema<libcontainer::BlkioStats> {
  static constexpr Field fields[] = {
      field<&libcontainer::BlkioStats::io_service_bytes>("ioServiceBytesRecursive", kOmitEmpty),
      field<&libcontainer::BlkioStats::io_serviced>("ioServicedRecursive", kOmitEmpty)};
};
template <>
struct Schema<libcontainer::Stats> {
  static constexpr Field fields[] = {field<&libcontainer::Stats::cpu>("cpu", kOmitEmpty),
                                     field<&libcontainer::Stats::memory>("memory", kOmitEmpty),
                                     field<&libcontainer::Stats::pids>("pids", kOmitEmpty),
                                     field<&libcontainer::Stats::blkio>("blkio", kOmitEmpty)};
};

}  // namespace gantry::json
