// Is what the graph says true of the disk? And: a database made again from a damaged one and the
// disk.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "graph/content_store.h"
#include "graph/graph.h"

namespace gantry::graph {

enum class CheckMode { look, repair };

struct ContentFinding {
  enum class What {
    missing,  // a blob of the graph has no file
    corrupt,  // its bytes are not those of its digest; repair: the file is removed
  };
  What what = What::missing;
  std::string digest;
  std::vector<std::string> needed_by;  // tags and images that hold it: what must be fetched again
  bool repaired = false;
};
std::string_view to_string(ContentFinding::What what);

// The tags and images (and containers of untagged ones) above a node, in words: "tag …".
Result<std::vector<std::string>> needed_by(View& view, NodeId id);

// Looks at the blobs of the graph; with ReadContent::yes reads and hashes each. `look_at`, when
// set, is asked before each and stops the check with its error. Files that no node names are not
// judged here: the resource kind of blobs finds them.
enum class ReadContent { no, yes };
Result<std::vector<ContentFinding>> check_content(const Graph& graph, const ContentStore& content,
                                                  CheckMode mode, ReadContent read,
                                                  const std::function<Status()>& look_at = {});

struct Recovery {
  int64_t nodes = 0;  // taken over from the damaged database
  int64_t edges = 0;
  int64_t names = 0;
  int64_t resources = 0;
  int64_t blobs = 0;                  // found on the disk and in no node
  std::string kept_as;                // where the damaged file is now; "" when there was none
  std::vector<std::string> not_read;  // what could not be taken over, in words
};

// The setting that is "1" from a recovery until somebody has had its result checked and repaired:
// until then what the database does not account for may be somebody's data.
inline constexpr std::string_view kRecoveredKey = "recovered";

// Opens the database. One that is damaged is moved aside ("PATH.damaged-<time>") and a new one is
// made of all its rows that can still be read; blobs on disk that have no node get one. `recovery`
// says what was done, and is untouched when nothing was wrong. Call it where Database::open would
// be called.
Result<std::unique_ptr<Database>> open_or_recover(const std::string& path,
                                                  const ContentStore& content,
                                                  std::optional<Recovery>* recovery);

}  // namespace gantry::graph

template <>
struct gantry::json::Schema<gantry::graph::Recovery> {
  using R = gantry::graph::Recovery;
  static constexpr Field fields[] = {
      field<&R::nodes>("Nodes"),     field<&R::edges>("Edges"),
      field<&R::names>("Names"),     field<&R::resources>("Resources"),
      field<&R::blobs>("Blobs"),     field<&R::kept_as>("KeptAs", kOmitEmpty),
      field<&R::not_read>("NotRead")};
};
