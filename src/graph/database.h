// The SQLite database that holds everything Gantry must remember: connections, statements,
// transactions, migrations. Nothing above the rooms graph and engine writes SQL; they use graph.h.
//
// Sources: https://www.sqlite.org/c3ref/intro.html, wal.html, pragma.html#pragma_synchronous.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"

struct sqlite3;
struct sqlite3_stmt;

namespace gantry::graph {

// What a commit survives. `normal`: the death of the process (synchronous=NORMAL: in order, but the
// last commits may be missing after a power cut). `full`: a power cut too, at the price of an fsync
// (2 ms).
enum class Durability { normal, full };

// Whether a transaction may use what is reserved for a full disk: what gives space back (stop, rm,
// prune, rollback) may, what takes space may not. An `ordinary` one is refused when less than 1 MiB
// is free.
enum class Space { ordinary, reserve };

// What migrations create; a database of a later version is refused, one of an earlier version is
// brought up, each step in a transaction of its own. The number is PRAGMA user_version.
struct Migration {
  int version;
  const char* sql;
};
extern const std::vector<Migration> kMigrations;  // ascending, without gaps

// A prepared statement borrowed from its connection's cache; reset and given back on destruction.
// Not thread-safe. Parameters are bound by position from 1, columns read by position from 0. A view
// returned by text() is valid until the next step().
class Statement {
 public:
  Statement(Statement&& other) noexcept;
  Statement& operator=(Statement&&) = delete;
  Statement(const Statement&) = delete;
  ~Statement();

  void bind(int index, int64_t value);
  void bind(int index, int value) { bind(index, int64_t{value}); }
  void bind(int index, size_t value) { bind(index, static_cast<int64_t>(value)); }
  void bind(int index, std::string_view value);
  void bind(int index, const std::string& value) { bind(index, std::string_view(value)); }
  void bind(int index, const char* value) { bind(index, std::string_view(value)); }
  void bind_null(int index);
  template <typename E>
    requires std::is_enum_v<E>
  void bind(int index, E value) {
    bind(index, static_cast<int64_t>(value));
  }
  template <typename... Args>
  void bind_all(const Args&... args) {
    int index = 0;
    (bind(++index, args), ...);
  }

  // True when there is a row to read.
  Result<bool> step();
  // Steps to the end and resets, for a statement whose rows do not matter.
  Status run();
  void reset();

  int64_t integer(int column) const;
  std::string_view text(int column) const;
  std::string string(int column) const { return std::string(text(column)); }
  bool is_null(int column) const;

 private:
  friend class Connection;
  Statement(class Connection* connection, sqlite3_stmt* handle, bool* busy)
      : connection_(connection), handle_(handle), busy_(busy) {}

  class Connection* connection_;
  sqlite3_stmt* handle_;
  bool* busy_;
};

// One SQLite connection with its statement cache. Used by one thread at a time.
class Connection {
 public:
  enum class Mode { write_normal, write_full, read };
  static Result<std::unique_ptr<Connection>> open(const std::string& path, Mode mode);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // Statements are cached by their text and never dropped: no values in `sql`.
  Result<Statement> prepare(std::string_view sql);
  template <typename... Args>
  Result<Statement> query(std::string_view sql, const Args&... args) {
    Statement statement = TRY(prepare(sql));
    statement.bind_all(args...);
    return statement;
  }
  template <typename... Args>
  Status execute(std::string_view sql, const Args&... args) {
    Statement statement = TRY(prepare(sql));
    statement.bind_all(args...);
    return statement.run();
  }
  // Several statements without parameters (migrations, pragmas); not cached.
  Status execute_script(const char* sql);

  int64_t last_insert_id() const;
  int64_t changes() const;
  bool in_transaction() const;
  // The Error of the last failed call: SQLITE_FULL is `unavailable` with ENOSPC, CONSTRAINT
  // `conflict`, CORRUPT and NOTADB `internal` with what to do about it.
  Error last_error(std::string_view doing) const;
  sqlite3* handle() const { return handle_; }

 private:
  friend class Statement;
  Connection(sqlite3* handle, std::string path) : handle_(handle), path_(std::move(path)) {}
  struct Cached {
    sqlite3_stmt* handle = nullptr;
    bool busy = false;
  };
  sqlite3* handle_;
  std::string path_;
  struct TextHash {
    using is_transparent = void;
    size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
  };
  std::unordered_map<std::string, std::unique_ptr<Cached>, TextHash, std::equal_to<>> cache_;
};

class Database;

// BEGIN IMMEDIATE … COMMIT on the writer connection of the durability asked for; rolled back when
// it is destroyed without commit(). While it lives, no other transaction of this process runs, so
// it must be short and must not wait for anything. Belongs to the thread that began it.
class Transaction {
 public:
  Transaction(Transaction&&) noexcept;
  Transaction& operator=(Transaction&&) = delete;
  ~Transaction();

  Connection& connection() { return *connection_; }
  Status commit();

 private:
  friend class Database;
  Transaction(Database* database, Connection* connection, std::unique_lock<std::mutex> lock,
              int64_t asked_at)
      : database_(database), connection_(connection), lock_(std::move(lock)), asked_at_(asked_at) {}
  void finish();

  Database* database_;
  Connection* connection_;
  std::unique_lock<std::mutex> lock_;
  int64_t asked_at_;  // when begin() was called, monotonic ns
};

// A reader connection out of the pool, inside one read transaction: everything read through it is
// of one moment, and no writer is waited for. Short-lived (an old snapshot keeps the WAL from
// shrinking).
class Snapshot {
 public:
  Snapshot(Snapshot&&) noexcept = default;
  Snapshot& operator=(Snapshot&&) = delete;
  ~Snapshot();
  Connection& connection() { return *connection_; }

 private:
  friend class Database;
  Snapshot(Database* database, std::unique_ptr<Connection> connection, int64_t asked_at)
      : database_(database), connection_(std::move(connection)), asked_at_(asked_at) {}
  Database* database_;
  std::unique_ptr<Connection> connection_;
  int64_t asked_at_;  // when read() was called, monotonic ns
};

// What a database has been used for since it was opened. Times are from the call of begin() or
// read() to the end of the transaction or snapshot, waiting and the caller's own work included,
// added up over all threads.
struct DatabaseCounters {
  int64_t transactions = 0;  // that were begun
  int64_t write_ns = 0;
  int64_t snapshots = 0;
  int64_t read_ns = 0;
};

// Thread-safe.
class Database {
 public:
  // Creates the file (mode 0600) or opens it and migrates it. Errors: `conflict` when another
  // process has it open as its own, `unsupported` when a newer Gantry wrote it, `internal` when it
  // is damaged (the message says so and names the file).
  static Result<std::unique_ptr<Database>> open(const std::string& path);
  // The same with other migrations (tests).
  static Result<std::unique_ptr<Database>> open(const std::string& path,
                                                const std::vector<Migration>& migrations);
  ~Database();
  Database(const Database&) = delete;

  const std::string& path() const { return path_; }

  // Waits for the running transaction to end. An error when this thread already has one open.
  Result<Transaction> begin(Durability durability = Durability::normal);
  // begin, body, commit. A full disk is met by a checkpoint, after which the WAL is written anew in
  // its place, and, with Space::reserve, by giving the reserve up; `body` runs once more after
  // each, so it must have no effect beside its transaction. Errors of a full disk: `unavailable`
  // with ENOSPC.
  Status write(Durability durability, Space space, const std::function<Status(Transaction&)>& body);
  Status write(const std::function<Status(Transaction&)>& body) {
    return write(Durability::normal, Space::ordinary, body);
  }
  Result<Snapshot> read();

  // Keeps room for a full disk, in two parts. `log_bytes` are allocated to the WAL ahead of what it
  // holds: nobody else can take them, and only Space::reserve transactions write when the disk is
  // full. `bytes` are a file beside the database that is given up when even that is not enough, or
  // the database cannot be opened without. What could not be had, or was used, is had again by
  // restore_reserve() once there is room.
  Status set_reserve(uint64_t bytes, uint64_t log_bytes = 0);
  void restore_reserve();

  DatabaseCounters counters() const;

  // PRAGMA integrity_check and foreign_key_check: the complaints, empty when sound.
  Result<std::vector<std::string>> integrity_check();
  // What can be put right while it is open: makes every index anew from its table, and drops edges
  // and names of nodes that are not there.
  Status mend();
  // Copies the WAL into the file, and empties it. Happens by itself in the background; for tests
  // and shutdown.
  Status checkpoint();

 private:
  friend class Transaction;
  friend class Snapshot;
  explicit Database(std::string path) : path_(std::move(path)) {}
  Status open_connections(const std::vector<Migration>& migrations);
  Status migrate(const std::vector<Migration>& migrations);
  void give_back(std::unique_ptr<Connection> reader);
  Status attempt(Durability durability, const std::function<Status(Transaction&)>& body);
  bool give_up_reserve();
  Status allocate_log();
  bool nearly_full() const;
  bool reuse_log();
  void request_checkpoint();
  void checkpoint_loop();
  static int on_wal(void* self, sqlite3*, const char*, int pages);

  const std::string path_;
  UniqueFd lock_;  // flock: one process owns the database

  std::mutex write_mutex_;  // at most one writer: SQLite's own rule, without its busy-waiting
  std::unique_ptr<Connection> normal_;
  std::unique_ptr<Connection> full_;

  std::mutex checkpointing_;  // SQLite refuses a second one instead of waiting
  std::unique_ptr<Connection> checkpoints_;

  std::mutex pool_mutex_;
  std::vector<std::unique_ptr<Connection>> idle_readers_;

  std::atomic<int64_t> transactions_{0}, write_ns_{0}, snapshots_{0}, read_ns_{0};

  std::mutex reserve_mutex_;
  uint64_t reserve_bytes_ = 0;
  uint64_t log_bytes_ = 0;
  bool reserve_present_ = false;

  std::mutex checkpoint_mutex_;
  std::condition_variable checkpoint_wanted_;
  bool want_checkpoint_ = false;
  bool stopping_ = false;
  std::thread checkpointer_;
};

}  // namespace gantry::graph
