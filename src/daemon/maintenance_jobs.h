// The jobs that look after the whole: a check of everything, and collection. Their handlers are
// Maintenance's (daemon/maintenance.h).
#pragma once

#include <string>
#include <vector>

#include "base/json.h"
#include "engine/engine.h"
#include "graph/gc.h"
#include "registry/auth.h"

namespace gantry::daemon {

// Something that is not as the database says, or the other way round.
struct CheckFinding {
  // As engine::Finding ("orphan", "vanished", "ownerless", "unfinished", …), and: "damaged" (the
  // database), "missing" and "corrupt" (content, a layer, a volume, a firewall table), "unreadable"
  // (a record that cannot be parsed), "unknown" (data of a user that nothing in the database
  // accounts for).
  std::string what;
  std::string kind;  // of the resource or node
  std::string name;
  std::string owner;
  std::string detail;
  std::vector<std::string> needed_by;  // what has to be loaded or pulled again
  bool repaired = false;
  std::string fetched_from;  // the reference that it was pulled by again
};

// POST /gantry/system/check
struct SystemCheck {
  static constexpr std::string_view kName = "system.check";
  struct Input {
    bool repair = false;
    bool content = false;                       // read and hash every blob and every layer
    registry::RegistryCredentials credentials;  // for what is fetched again; not in the journal
  };
  struct Output {
    std::vector<CheckFinding> findings;
    int64_t unrepaired = 0;
    int64_t duration_ns = 0;
  };
};

// One container, onto the directories that the layers of its image have now: they came again.
struct ContainerRebase {
  static constexpr std::string_view kName = "container.rebase";
  struct Input {
    std::string container;  // id
  };
  using Output = bool;  // whether there was such a container
};

// At a start that found the database damaged or gone: what is on the disk is taken in again.
struct SystemRebuild {
  static constexpr std::string_view kName = "system.rebuild";
  struct Input {};
  struct Output {
    std::vector<std::string> made;      // "image sha256:…", "volume x"
    std::vector<std::string> not_made;  // in words, with what to do about it
  };
};

// POST /gantry/system/gc
struct SystemCollect {
  static constexpr std::string_view kName = "system.collect";
  struct Input {
    bool dry_run = false;
  };
  struct Item {
    std::string kind, key;
    int64_t size = 0;
  };
  struct Output {
    std::vector<Item> items;  // removed, or what would be
    int64_t reclaimed = 0;    // bytes
    int64_t duration_ns = 0;
  };
};

// One step of a collection, with the images locked for as long as it takes.
struct CollectStep {
  static constexpr std::string_view kName = "system.collect.step";
  struct Input {
    std::shared_ptr<graph::Collector> collector;
  };
  using Output = std::vector<graph::Node>;
};

}  // namespace gantry::daemon

namespace gantry::json {
template <>
struct Schema<daemon::CheckFinding> {
  using T = daemon::CheckFinding;
  static constexpr Field fields[] = {field<&T::what>("What"),
                                     field<&T::kind>("Kind"),
                                     field<&T::name>("Name"),
                                     field<&T::owner>("Owner", kOmitEmpty),
                                     field<&T::detail>("Detail", kOmitEmpty),
                                     field<&T::needed_by>("NeededBy", kOmitEmpty),
                                     field<&T::fetched_from>("FetchedFrom", kOmitEmpty),
                                     field<&T::repaired>("Repaired")};
};
template <>
struct Schema<daemon::SystemCheck::Input> {
  using T = daemon::SystemCheck::Input;
  static constexpr Field fields[] = {field<&T::repair>("Repair"), field<&T::content>("Content")};
};
template <>
struct Schema<daemon::SystemCheck::Output> {
  using T = daemon::SystemCheck::Output;
  static constexpr Field fields[] = {field<&T::findings>("Findings"),
                                     field<&T::unrepaired>("Unrepaired"),
                                     field<&T::duration_ns>("DurationNs")};
};
template <>
struct Schema<daemon::ContainerRebase::Input> {
  using T = daemon::ContainerRebase::Input;
  static constexpr Field fields[] = {field<&T::container>("container")};
};
template <>
struct Schema<daemon::SystemCollect::Input> {
  using T = daemon::SystemCollect::Input;
  static constexpr Field fields[] = {field<&T::dry_run>("DryRun")};
};
template <>
struct Schema<daemon::SystemCollect::Item> {
  using T = daemon::SystemCollect::Item;
  static constexpr Field fields[] = {field<&T::kind>("Kind"), field<&T::key>("Key"),
                                     field<&T::size>("Size")};
};
template <>
struct Schema<daemon::SystemCollect::Output> {
  using T = daemon::SystemCollect::Output;
  static constexpr Field fields[] = {field<&T::items>("Items"),
                                     field<&T::reclaimed>("SpaceReclaimed"),
                                     field<&T::duration_ns>("DurationNs")};
};
}  // namespace gantry::json
