// The schema, one step a version. A step that was released is never changed: add another.
#include "graph/database.h"

namespace gantry::graph {
namespace {

// Ids are AUTOINCREMENT so that none is used twice: code may hold one while the row goes.
// The partial indexes hold only rows that are few at any time.
constexpr const char* kFirst = R"sql(
CREATE TABLE node(
  id         INTEGER PRIMARY KEY AUTOINCREMENT,
  kind       INTEGER NOT NULL,
  key        TEXT NOT NULL,
  data       TEXT NOT NULL,
  size       INTEGER NOT NULL,
  created_at INTEGER NOT NULL,
  used_at    INTEGER NOT NULL,
  UNIQUE(kind, key)
);
CREATE TABLE edge(
  src      INTEGER NOT NULL REFERENCES node(id) ON DELETE CASCADE,
  kind     INTEGER NOT NULL,
  position INTEGER NOT NULL,
  dst      INTEGER NOT NULL REFERENCES node(id),
  PRIMARY KEY(src, kind, position, dst)
) WITHOUT ROWID;
CREATE INDEX edge_dst ON edge(dst, kind);
CREATE TABLE name(
  kind INTEGER NOT NULL,
  name TEXT NOT NULL,
  node INTEGER NOT NULL REFERENCES node(id) ON DELETE CASCADE,
  PRIMARY KEY(kind, name)
) WITHOUT ROWID;
CREATE INDEX name_node ON name(node);
CREATE TABLE setting(
  key   TEXT PRIMARY KEY,
  value TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE job(
  id           INTEGER PRIMARY KEY,
  name         TEXT NOT NULL,
  status       INTEGER NOT NULL,
  class        INTEGER NOT NULL,
  parent       INTEGER NOT NULL,
  caller       TEXT NOT NULL,
  queued_at    INTEGER NOT NULL,
  started_at   INTEGER NOT NULL,
  finished_at  INTEGER NOT NULL,
  input_digest TEXT NOT NULL,
  error        TEXT NOT NULL,
  resources    TEXT NOT NULL
);
CREATE INDEX job_open ON job(status) WHERE status <= 2;
CREATE TABLE resource(
  id         INTEGER PRIMARY KEY AUTOINCREMENT,
  kind       TEXT NOT NULL,
  name       TEXT NOT NULL,
  owner      TEXT NOT NULL,
  job        INTEGER NOT NULL,
  state      INTEGER NOT NULL,
  data       TEXT NOT NULL,
  boot_id    TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  UNIQUE(kind, name)
);
CREATE INDEX resource_owner ON resource(owner);
CREATE INDEX resource_moving ON resource(state) WHERE state <> 2;
)sql";

}  // namespace

const std::vector<Migration> kMigrations = {{1, kFirst}};

}  // namespace gantry::graph
