// From a request to the route that answers it. Routes are rows of tables; a pattern is a path with
// {name}s, each one segment, or with one {name...} that takes as many as the rest of the pattern
// leaves.
#pragma once

#include <initializer_list>
#include <span>
#include <string_view>
#include <vector>

#include "server/call.h"

namespace gantry::server {

struct Route {
  std::string_view method;
  std::string_view pattern;
  // Decodes the request, runs a job or a query, encodes. An error that is returned before anything
  // was answered becomes the answer.
  Status (*handler)(Call&);
  // Others wait until the daemon has taken its containers over (Daemon::ready).
  enum class Answered { when_ready, at_once } answered = Answered::when_ready;
};

// Immutable once made; the tables must outlive it.
class Router {
 public:
  Router(std::initializer_list<std::span<const Route>> tables, daemon::Daemon* daemon);

  // Answers the request, whatever it is.
  void handle(http::Exchange& exchange) const;

 private:
  struct Entry {
    const Route* route;
    std::vector<std::string_view> segments;
    size_t rest = static_cast<size_t>(-1);  // index of the {name...}
  };
  const Route* find(Call& call) const;
  Status wait_until_ready(Call& call) const;
  static bool match(const Entry& entry, const std::vector<std::string_view>& path, Call& call);

  std::vector<Entry> entries_;
  daemon::Daemon* daemon_;
};

// "/a//b/" as "a", "b".
std::vector<std::string_view> path_segments(std::string_view path);

}  // namespace gantry::server
