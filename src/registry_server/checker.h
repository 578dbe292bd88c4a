// `gantry-registry check`: compares the store with itself, byte by byte.
#pragma once

#include <functional>
#include <map>
#include <string>

#include "registry_server/store.h"

namespace gantry::registry_server {

struct CheckReport {
  size_t contents = 0, repositories = 0, manifests = 0, problems = 0, repaired = 0;
};

// Reading only, a check may run beside a registry that serves (what is removed meanwhile is no
// problem). With `repair` the store must be held: content whose digest is wrong is removed with its
// links, so that a push brings it again; tags and referrers that lead nowhere go; referrers that
// are not listed are.
class Checker {
 public:
  enum class Repair { no, yes };
  enum class References { needed, optional };
  Checker(Store& store, Repair repair, References references,
          std::function<void(const std::string&)> tell)
      : store_(store), repair_(repair), references_(references), tell_(std::move(tell)) {}

  Result<CheckReport> run();

 private:
  void problem(const std::string& text);
  Status check_contents();
  Status check_repositories(int directory, const std::string& prefix);
  Status check_repository_links(const std::string& name);
  Status check_links(const std::string& name, Links kind);
  Status check_manifest(const std::string& name, const ContentDigest& digest);
  Status check_tags(const std::string& name);
  Status check_referrers(const std::string& name);

  Store& store_;
  const Repair repair_;
  const References references_;
  const std::function<void(const std::string&)> tell_;
  CheckReport report_;
  std::map<std::pair<dev_t, ino_t>, bool> verified_;  // second copies, and whether they are right
};

}  // namespace gantry::registry_server
