// What an image says about itself: the config blob (image-spec config.md, Docker's image JSON),
// whose digest is the image's id. All of it is data that somebody else wrote.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/digest.h"
#include "base/json.h"

namespace gantry::image {

// Times are kept as they were written ("30s" in nanoseconds), as Docker's HealthConfig.
struct HealthConfig {
  std::vector<std::string> test;
  int64_t interval = 0;
  int64_t timeout = 0;
  int64_t start_period = 0;
  int64_t start_interval = 0;
  int64_t retries = 0;
};

struct ContainerConfig {
  std::string user;
  std::map<std::string, json::object> exposed_ports;
  std::vector<std::string> env;
  std::optional<std::vector<std::string>> entrypoint;
  std::optional<std::vector<std::string>> cmd;
  std::optional<HealthConfig> healthcheck;
  bool args_escaped = false;
  std::map<std::string, json::object> volumes;
  std::string working_dir;
  std::vector<std::string> on_build;
  std::map<std::string, std::string> labels;
  std::string stop_signal;
  std::vector<std::string> shell;
};

struct RootFs {
  std::string type;                   // "layers"
  std::vector<std::string> diff_ids;  // digests of the uncompressed layers, lowest first
};

struct HistoryEntry {
  std::string created;
  std::string created_by;
  std::string author;
  std::string comment;
  bool empty_layer = false;
};

struct ImageConfig {
  std::string created;
  std::string author;
  std::string architecture;
  std::string variant;
  std::string os;
  std::string os_version;
  std::string comment;         // Docker only
  std::string docker_version;  // Docker only
  std::string parent;          // Docker only: the id of the image this was built on
  ContainerConfig config;
  RootFs rootfs;
  std::vector<HistoryEntry> history;

  // Parses a blob and checks what the engine relies on: an operating system, diff ids that are
  // digests, as many non-empty history entries as layers (when there is a history).
  static Result<ImageConfig> parse(std::string_view blob);
};

// Chain ids of a stack, lowest first: chain(0) = diff(0), chain(n) = sha256(chain(n-1) + " " +
// diff(n)).
Result<std::vector<Digest>> chain_ids(const std::vector<std::string>& diff_ids);
Digest chain_id(const Digest& parent, const Digest& diff_id);

}  // namespace gantry::image

namespace gantry::json {

template <>
struct Schema<image::HealthConfig> {
  using T = image::HealthConfig;
  static constexpr Field fields[] = {field<&T::test>("Test", kOmitEmpty),
                                     field<&T::interval>("Interval", kOmitEmpty),
                                     field<&T::timeout>("Timeout", kOmitEmpty),
                                     field<&T::start_period>("StartPeriod", kOmitEmpty),
                                     field<&T::start_interval>("StartInterval", kOmitEmpty),
                                     field<&T::retries>("Retries", kOmitEmpty)};
};

template <>
struct Schema<image::ContainerConfig> {
  using T = image::ContainerConfig;
  static constexpr Field fields[] = {field<&T::user>("User", kOmitEmpty),
                                     field<&T::exposed_ports>("ExposedPorts", kOmitEmpty),
                                     field<&T::env>("Env", kOmitEmpty),
                                     field<&T::entrypoint>("Entrypoint", kOmitEmpty),
                                     field<&T::cmd>("Cmd", kOmitEmpty),
                                     field<&T::healthcheck>("Healthcheck", kOmitEmpty),
                                     field<&T::args_escaped>("ArgsEscaped", kOmitEmpty),
                                     field<&T::volumes>("Volumes", kOmitEmpty),
                                     field<&T::working_dir>("WorkingDir", kOmitEmpty),
                                     field<&T::on_build>("OnBuild", kOmitEmpty),
                                     field<&T::labels>("Labels", kOmitEmpty),
                                     field<&T::stop_signal>("StopSignal", kOmitEmpty),
                                     field<&T::shell>("Shell", kOmitEmpty)};
};

template <>
struct Schema<image::RootFs> {
  using T = image::RootFs;
  static constexpr Field fields[] = {field<&T::type>("type"), field<&T::diff_ids>("diff_ids")};
};

template <>
struct Schema<image::HistoryEntry> {
  using T = image::HistoryEntry;
  static constexpr Field fields[] = {
      field<&T::created>("created", kOmitEmpty), field<&T::created_by>("created_by", kOmitEmpty),
      field<&T::author>("author", kOmitEmpty), field<&T::comment>("comment", kOmitEmpty),
      field<&T::empty_layer>("empty_layer", kOmitEmpty)};
};

template <>
struct Schema<image::ImageConfig> {
  using T = image::ImageConfig;
  static constexpr Field fields[] = {field<&T::created>("created", kOmitEmpty),
                                     field<&T::author>("author", kOmitEmpty),
                                     field<&T::architecture>("architecture"),
                                     field<&T::variant>("variant", kOmitEmpty),
                                     field<&T::os>("os"),
                                     field<&T::os_version>("os.version", kOmitEmpty),
                                     field<&T::comment>("comment", kOmitEmpty),
                                     field<&T::docker_version>("docker_version", kOmitEmpty),
                                     field<&T::parent>("parent", kOmitEmpty),
                                     field<&T::config>("config"),
                                     field<&T::rootfs>("rootfs"),
                                     field<&T::history>("history", kOmitEmpty)};
};

}  // namespace gantry::json
