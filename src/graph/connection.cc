// Connections and statements.
#include <sqlite3.h>

#include <cerrno>
#include <mutex>

#include "graph/database.h"
#include "graph/wal_vfs.h"

namespace gantry::graph {
namespace {

void configure_library() {
  static std::once_flag once;
  // No counting of every allocation under one mutex; nobody reads the statistics.
  std::call_once(once, [] { sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0); });
}

// Checkpoints are made by Database's own thread (wal_autocheckpoint would make a commit pay for
// one).
constexpr const char* kCommonPragmas =
    "PRAGMA busy_timeout=10000;PRAGMA foreign_keys=ON;PRAGMA temp_store=MEMORY;"
    "PRAGMA wal_autocheckpoint=0;PRAGMA journal_size_limit=4194304;";

const char* mode_pragmas(Connection::Mode mode) {
  switch (mode) {
    case Connection::Mode::write_normal:
      return "PRAGMA journal_mode=WAL;PRAGMA synchronous=NORMAL;PRAGMA cache_size=-1024;"
             "PRAGMA cache_spill=OFF";
    case Connection::Mode::write_full:
      return "PRAGMA journal_mode=WAL;PRAGMA synchronous=FULL;PRAGMA cache_size=-512;"
             "PRAGMA cache_spill=OFF";
    case Connection::Mode::read:
      return "PRAGMA query_only=ON;PRAGMA cache_size=-1024";
  }
  return "";
}

bool is_no_space(int code, int system_errno) {
  return code == SQLITE_FULL ||
         (code == SQLITE_IOERR && (system_errno == ENOSPC || system_errno == EDQUOT));
}

}  // namespace

Statement::Statement(Statement&& other) noexcept
    : connection_(other.connection_),
      handle_(std::exchange(other.handle_, nullptr)),
      busy_(std::exchange(other.busy_, nullptr)) {}

Statement::~Statement() {
  if (!handle_) return;
  if (!busy_) {
    sqlite3_finalize(handle_);
    return;
  }
  reset();
  *busy_ = false;
}

void Statement::bind(int index, int64_t value) { sqlite3_bind_int64(handle_, index, value); }
void Statement::bind(int index, std::string_view value) {
  // An empty view may have a null pointer, which would bind NULL.
  sqlite3_bind_text64(handle_, index, value.data() ? value.data() : "", value.size(),
                      SQLITE_TRANSIENT, SQLITE_UTF8);
}
void Statement::bind_null(int index) { sqlite3_bind_null(handle_, index); }

Result<bool> Statement::step() {
  int code = sqlite3_step(handle_);
  if (code == SQLITE_ROW) return true;
  if (code == SQLITE_DONE) return false;
  Error error = connection_->last_error("");
  sqlite3_reset(handle_);
  return error;
}

Status Statement::run() {
  while (TRY(step())) {
  }
  sqlite3_reset(handle_);
  return {};
}

void Statement::reset() {
  sqlite3_reset(handle_);
  sqlite3_clear_bindings(handle_);
}

int64_t Statement::integer(int column) const { return sqlite3_column_int64(handle_, column); }
std::string_view Statement::text(int column) const {
  const auto* bytes = reinterpret_cast<const char*>(sqlite3_column_text(handle_, column));
  if (!bytes) return {};
  return {bytes, static_cast<size_t>(sqlite3_column_bytes(handle_, column))};
}
bool Statement::is_null(int column) const {
  return sqlite3_column_type(handle_, column) == SQLITE_NULL;
}

Result<std::unique_ptr<Connection>> Connection::open(const std::string& path, Mode mode) {
  configure_library();
  sqlite3* handle = nullptr;
  // NOMUTEX: a connection is used by one thread at a time. Readers are opened for writing too (they
  // must be able to map the WAL index) and forbidden to by query_only.
  int code = sqlite3_open_v2(
      path.c_str(), &handle,
      SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE,
      mode == Mode::read ? nullptr : wal_vfs());
  std::unique_ptr<Connection> connection(new Connection(handle, path));
  if (code != SQLITE_OK) return connection->last_error("open");
  TRY(connection->execute_script(kCommonPragmas));
  TRY(connection->execute_script(mode_pragmas(mode)));
  return connection;
}

Connection::~Connection() {
  for (auto& [sql, cached] : cache_) sqlite3_finalize(cached->handle);
  sqlite3_close(handle_);
}

Result<Statement> Connection::prepare(std::string_view sql) {
  auto found = cache_.find(sql);
  if (found != cache_.end() && !found->second->busy) {
    found->second->busy = true;
    return Statement(this, found->second->handle, &found->second->busy);
  }
  bool cached = found == cache_.end();
  sqlite3_stmt* handle = nullptr;
  int code = sqlite3_prepare_v3(handle_, sql.data(), static_cast<int>(sql.size()),
                                cached ? SQLITE_PREPARE_PERSISTENT : 0, &handle, nullptr);
  if (code != SQLITE_OK) return last_error("prepare");
  if (!cached) return Statement(this, handle, nullptr);  // the cached one is in use further up
  auto entry = std::make_unique<Cached>(Cached{handle, true});
  bool* busy = &entry->busy;
  cache_.emplace(sql, std::move(entry));
  return Statement(this, handle, busy);
}

Status Connection::execute_script(const char* sql) {
  if (sqlite3_exec(handle_, sql, nullptr, nullptr, nullptr) == SQLITE_OK) return {};
  return last_error("");
}

int64_t Connection::last_insert_id() const { return sqlite3_last_insert_rowid(handle_); }
int64_t Connection::changes() const { return sqlite3_changes64(handle_); }
bool Connection::in_transaction() const { return sqlite3_get_autocommit(handle_) == 0; }

Error Connection::last_error(std::string_view doing) const {
  int code = handle_ ? sqlite3_errcode(handle_) & 0xff : SQLITE_NOMEM;
  int system_errno = handle_ ? sqlite3_system_errno(handle_) : ENOMEM;
  std::string what = fmt::format("database {}", path_);
  if (!doing.empty()) what += fmt::format(": {}", doing);
  if (is_no_space(code, system_errno))
    return Error(ErrorKind::unavailable, what + ": no space left on device", ENOSPC);
  const char* message = handle_ ? sqlite3_errmsg(handle_) : "out of memory";
  switch (code) {
    case SQLITE_CONSTRAINT:
      return conflict("{}: {}", what, message);
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return Error(ErrorKind::unavailable, what + ": in use by another process", EBUSY);
    case SQLITE_NOMEM:
      return Error(ErrorKind::unavailable, what + ": out of memory", ENOMEM);
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return internal(
          "{} is damaged ({}): stop gantryd, move the file away and start again; what is on the "
          "disk is "
          "found again",
          what, message);
    case SQLITE_READONLY:
      return Error(ErrorKind::unavailable, fmt::format("{}: {}", what, message), EROFS);
    case SQLITE_IOERR:
    case SQLITE_CANTOPEN:
      if (system_errno != 0) return errno_error(system_errno, "{}", what);
      [[fallthrough]];
    default:
      return internal("{}: {}", what, message);
  }
}

}  // namespace gantry::graph
