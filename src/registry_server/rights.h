// Who may do what with which repositories: the rights file.
//
//   # who                what           which rights
//   group devs = alice bob
//   allow user alice     team/**        pull push delete
//   allow group devs     devs/*         pull push catalog
//   allow anonymous      public/**      pull
//   allow authenticated  **             pull
//   allow user admin     **             all
//
// "*" in a pattern stands for any characters of one part of a name, "**" for any number of parts.
// Rights add up; nobody has one that no line gives. "catalog" is to see a repository in the list of
// all.
#pragma once

#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace gantry::registry_server {

enum Right : unsigned { kPull = 1, kPush = 2, kDelete = 4, kCatalog = 8, kAllRights = 15 };

class Rights {
 public:
  // Errors name the line. 100,000 lines at most.
  static Result<Rights> parse(std::string_view text);
  static Result<Rights> load(const std::string& path);

  // A set of Right. `user` "" is the anonymous one.
  unsigned of(const std::string& user, std::string_view repository) const;
  // Whether some line gives the user this right, on whatever repository.
  bool any(const std::string& user, Right right) const;

 private:
  enum class Who { user, group, anonymous, authenticated };
  struct Line {
    Who who;
    std::string name;
    std::string pattern;
    unsigned rights = 0;
  };
  bool applies(const Line& line, const std::string& user) const;

  std::map<std::string, std::set<std::string>> groups_;
  std::vector<Line> lines_;
};

// Linear in the product of both lengths at worst.
bool matches_pattern(std::string_view pattern, std::string_view name);

}  // namespace gantry::registry_server
