#include "graph/database.h"

#include <sqlite3.h>
#include <sys/file.h>
#include <sys/statvfs.h>

#include <cerrno>

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/sys.h"
#include "graph/transaction_guard.h"

namespace gantry::graph {
namespace {

// A checkpoint is asked for when the WAL has this many pages (4 MiB).
constexpr int kCheckpointPages = 1000;
constexpr size_t kIdleReaders = 4;
// The file grows by this much at a time, so that a checkpoint on a full disk mostly finds room.
constexpr int kGrowth = 256 << 10;
// What ordinary transactions leave free.
constexpr uint64_t kLeftFree = 1 << 20;

// Set while this thread has a transaction: a second one would wait for itself.
thread_local const Database* t_writing = nullptr;

}  // namespace

bool in_transaction() { return t_writing != nullptr; }

Transaction::Transaction(Transaction&& other) noexcept
    : database_(other.database_),
      connection_(std::exchange(other.connection_, nullptr)),
      lock_(std::move(other.lock_)),
      asked_at_(other.asked_at_) {}

Transaction::~Transaction() {
  if (!connection_) return;
  // SQLite has rolled back by itself after some errors (full disk, I/O).
  if (connection_->in_transaction()) (void)connection_->execute("ROLLBACK");
  finish();
}

void Transaction::finish() {
  t_writing = nullptr;
  connection_ = nullptr;
  lock_.unlock();
  database_->write_ns_.fetch_add(monotonic_ns() - asked_at_, std::memory_order_relaxed);
}

Status Transaction::commit() {
  TRY(failpoint("database.commit"));
  TRY(connection_->execute("COMMIT"));
  finish();
  (void)failpoint("database.committed");
  return {};
}

Snapshot::~Snapshot() {
  if (!connection_) return;
  database_->read_ns_.fetch_add(monotonic_ns() - asked_at_, std::memory_order_relaxed);
  if (connection_->execute("COMMIT")) database_->give_back(std::move(connection_));
}

Result<std::unique_ptr<Database>> Database::open(const std::string& path) {
  return open(path, kMigrations);
}

Result<std::unique_ptr<Database>> Database::open(const std::string& path,
                                                 const std::vector<Migration>& migrations) {
  std::unique_ptr<Database> database(new Database(path));
  database->lock_ = TRY(sys::open(path + ".lock", O_RDWR | O_CREAT | O_NOFOLLOW, 0600));
  Status locked = sys::flock(database->lock_.get(), LOCK_EX | LOCK_NB);
  if (!locked) {
    if (locked.error().code() == EWOULDBLOCK)
      return conflict("database {}: another gantryd uses it", path);
    return std::move(locked).error();
  }
  // SQLite makes the WAL with the mode of the file. The descriptor is closed before SQLite opens
  // the file: closing any later drops its POSIX locks (sqlite.org/howtocorrupt.html, 2.2).
  TRY(sys::open(path, O_RDWR | O_CREAT | O_NOFOLLOW, 0600));
  Status opened = database->open_connections(migrations);
  if (!opened && opened.error().code() == ENOSPC) {
    // Even reading the WAL takes room, for its index. The last process's reserve is for that.
    database->reserve_present_ = true;
    if (database->give_up_reserve()) opened = database->open_connections(migrations);
  }
  TRY(std::move(opened));
  Database* self = database.get();
  database->checkpointer_ = std::thread([self] { self->checkpoint_loop(); });
  return database;
}

Status Database::open_connections(const std::vector<Migration>& migrations) {
  normal_ = TRY(Connection::open(path_, Connection::Mode::write_normal));
  TRY(migrate(migrations));
  full_ = TRY(Connection::open(path_, Connection::Mode::write_full));
  checkpoints_ = TRY(Connection::open(path_, Connection::Mode::write_normal));
  for (Connection* writer : {normal_.get(), full_.get(), checkpoints_.get()}) {
    int growth = kGrowth;
    (void)sqlite3_file_control(writer->handle(), "main", SQLITE_FCNTL_CHUNK_SIZE, &growth);
  }
  for (Connection* writer : {normal_.get(), full_.get()})
    sqlite3_wal_hook(writer->handle(), &Database::on_wal, this);
  return {};
}

Database::~Database() {
  {
    std::lock_guard lock(checkpoint_mutex_);
    stopping_ = true;
  }
  checkpoint_wanted_.notify_all();
  if (checkpointer_.joinable()) checkpointer_.join();
}

Status Database::migrate(const std::vector<Migration>& migrations) {
  int64_t version = 0;
  {
    Statement statement = TRY(normal_->query("PRAGMA user_version"));
    if (TRY(statement.step())) version = statement.integer(0);
  }
  int known = migrations.empty() ? 0 : migrations.back().version;
  if (version > known)
    return unsupported("database {}: written by a newer gantryd (schema {}, this one knows {})",
                       path_, version, known);
  for (const Migration& migration : migrations) {
    if (migration.version <= version) continue;
    Transaction transaction = TRY(begin());
    TRY(failpoint("database.migrate"));
    TRY(normal_->execute_script(migration.sql).context("migration {}", migration.version));
    // A pragma takes no parameters.
    TRY(normal_->execute_script(fmt::format("PRAGMA user_version={}", migration.version).c_str()));
    TRY(transaction.commit());
  }
  return {};
}

Result<Transaction> Database::begin(Durability durability) {
  if (t_writing == this) return internal("database {}: a transaction inside a transaction", path_);
  TRY(failpoint("database.begin"));
  const int64_t asked_at = monotonic_ns();
  std::unique_lock lock(write_mutex_);
  Connection* connection = durability == Durability::full ? full_.get() : normal_.get();
  TRY(connection->execute("BEGIN IMMEDIATE"));
  t_writing = this;
  transactions_.fetch_add(1, std::memory_order_relaxed);
  return Transaction(this, connection, std::move(lock), asked_at);
}

Status Database::attempt(Durability durability, const std::function<Status(Transaction&)>& body) {
  Transaction transaction = TRY(begin(durability));
  TRY(body(transaction));
  return transaction.commit();
}

Status Database::write(Durability durability, Space space,
                       const std::function<Status(Transaction&)>& body) {
  if (space == Space::ordinary && nearly_full())
    return Error(ErrorKind::unavailable, fmt::format("database {}: no space left on device", path_),
                 ENOSPC);
  auto full = [](const Status& status) {
    return !status && (status.error().code() == ENOSPC || status.error().code() == EDQUOT);
  };
  Status status = attempt(durability, body);
  if (full(status) && reuse_log()) status = attempt(durability, body);
  if (full(status) && space == Space::reserve && give_up_reserve())
    status = attempt(durability, body);
  return status;
}

// Root may also write what a file system keeps for root, hence f_bfree.
bool Database::nearly_full() const {
  struct statvfs disk;
  return ::statvfs(path_.c_str(), &disk) == 0 && disk.f_blocks != 0 &&
         disk.f_bfree * disk.f_frsize < kLeftFree;
}

// The next transaction writes from the beginning of the WAL, into blocks that it has already.
// Passive: waits for no reader; one that is under way just now leaves it at that.
bool Database::reuse_log() {
  std::scoped_lock lock(checkpointing_, write_mutex_);
  return sqlite3_wal_checkpoint_v2(normal_->handle(), nullptr, SQLITE_CHECKPOINT_PASSIVE, nullptr,
                                   nullptr) == SQLITE_OK;
}

Result<Snapshot> Database::read() {
  const int64_t asked_at = monotonic_ns();
  std::unique_ptr<Connection> connection;
  {
    std::lock_guard lock(pool_mutex_);
    if (!idle_readers_.empty()) {
      connection = std::move(idle_readers_.back());
      idle_readers_.pop_back();
    }
  }
  // Never waits for another reader: a thread may hold several.
  if (!connection) connection = TRY(Connection::open(path_, Connection::Mode::read));
  TRY(connection->execute("BEGIN"));
  snapshots_.fetch_add(1, std::memory_order_relaxed);
  return Snapshot(this, std::move(connection), asked_at);
}

DatabaseCounters Database::counters() const {
  return {transactions_.load(std::memory_order_relaxed), write_ns_.load(std::memory_order_relaxed),
          snapshots_.load(std::memory_order_relaxed), read_ns_.load(std::memory_order_relaxed)};
}

void Database::give_back(std::unique_ptr<Connection> reader) {
  std::lock_guard lock(pool_mutex_);
  if (idle_readers_.size() < kIdleReaders) idle_readers_.push_back(std::move(reader));
}

Status Database::set_reserve(uint64_t bytes, uint64_t log_bytes) {
  std::lock_guard lock(reserve_mutex_);
  reserve_bytes_ = bytes;
  log_bytes_ = log_bytes;
  Status log = allocate_log();
  UniqueFd fd = TRY(sys::open(path_ + ".reserve", O_RDWR | O_CREAT | O_NOFOLLOW, 0600));
  int code = ::posix_fallocate(fd.get(), 0, static_cast<off_t>(bytes));
  if (code != 0) {
    (void)sys::ftruncate(fd.get(), 0);
    return errno_error(code, "{}.reserve", path_);
  }
  reserve_present_ = true;
  return log;
}

// Blocks beyond the end of the file: SQLite does not see them and writes into them (fallocate(2)).
// A file system that cannot has no such reserve.
Status Database::allocate_log() {
  if (log_bytes_ == 0) return {};
  const std::string path = path_ + "-wal";
  UniqueFd log = TRY(sys::open(path, O_RDWR | O_NOFOLLOW));
  if (::fallocate(log.get(), FALLOC_FL_KEEP_SIZE, 0, static_cast<off_t>(log_bytes_)) == -1 &&
      errno != EOPNOTSUPP)
    return errno_error(errno, "{}", path);
  return {};
}

bool Database::give_up_reserve() {
  std::lock_guard lock(reserve_mutex_);
  if (!reserve_present_) return false;
  Result<UniqueFd> fd = sys::open(path_ + ".reserve", O_RDWR | O_NOFOLLOW);
  if (!fd || !sys::ftruncate(fd->get(), 0)) return false;
  reserve_present_ = false;
  log::warn("the disk of {} is full: using the reserve of {} KiB", path_, reserve_bytes_ >> 10);
  // Before somebody else has filled what is free now.
  if (log_bytes_ != 0) log::ignored("keeping room for the log", allocate_log());
  return true;
}

void Database::restore_reserve() {
  {
    std::lock_guard lock(reserve_mutex_);
    if (reserve_bytes_ == 0 || reserve_present_) return;
    struct statvfs disk;
    // Only when it would not be the reserve that fills the disk.
    if (::statvfs(path_.c_str(), &disk) == -1 || disk.f_bavail * disk.f_frsize < 4 * reserve_bytes_)
      return;
  }
  log::ignored("restoring the reserve", set_reserve(reserve_bytes_, log_bytes_));
}

Result<std::vector<std::string>> Database::integrity_check() {
  Snapshot snapshot = TRY(read());
  Connection& connection = snapshot.connection();
  std::vector<std::string> complaints;
  Statement pages = TRY(connection.query("PRAGMA integrity_check(100)"));
  while (TRY(pages.step()))
    if (pages.text(0) != "ok") complaints.push_back(pages.string(0));
  Statement keys = TRY(connection.query("PRAGMA foreign_key_check"));
  while (TRY(keys.step()))
    complaints.push_back(
        fmt::format("row {} of table {} refers to a row of table {} that is not there",
                    keys.integer(1), keys.text(0), keys.text(2)));
  return complaints;
}

Status Database::mend() {
  constexpr const char* kMend = R"sql(
    REINDEX;
    DELETE FROM edge WHERE src NOT IN (SELECT id FROM node) OR dst NOT IN (SELECT id FROM node);
    DELETE FROM name WHERE node NOT IN (SELECT id FROM node);
  )sql";
  return write(Durability::normal, Space::reserve,
               [&](Transaction& tx) { return tx.connection().execute_script(kMend); });
}

Status Database::checkpoint() {
  std::scoped_lock lock(checkpointing_, write_mutex_);
  if (sqlite3_wal_checkpoint_v2(normal_->handle(), nullptr, SQLITE_CHECKPOINT_TRUNCATE, nullptr,
                                nullptr) != SQLITE_OK)
    return normal_->last_error("checkpoint");
  std::lock_guard reserve(reserve_mutex_);
  log::ignored("keeping room for the log", allocate_log());  // it was cut off with the rest
  return {};
}

int Database::on_wal(void* self, sqlite3*, const char*, int pages) {
  if (pages >= kCheckpointPages) static_cast<Database*>(self)->request_checkpoint();
  return SQLITE_OK;
}

void Database::request_checkpoint() {
  {
    std::lock_guard lock(checkpoint_mutex_);
    want_checkpoint_ = true;
  }
  checkpoint_wanted_.notify_one();
}

void Database::checkpoint_loop() {
  std::unique_lock lock(checkpoint_mutex_);
  for (;;) {
    checkpoint_wanted_.wait(lock, [&] { return want_checkpoint_ || stopping_; });
    if (stopping_) return;
    want_checkpoint_ = false;
    lock.unlock();
    {
      // Passive: neither waits for readers or writers nor makes them wait.
      std::lock_guard one(checkpointing_);
      if (sqlite3_wal_checkpoint_v2(checkpoints_->handle(), nullptr, SQLITE_CHECKPOINT_PASSIVE,
                                    nullptr, nullptr) != SQLITE_OK)
        log::warn("{}", checkpoints_->last_error("checkpoint").message());
    }
    restore_reserve();
    lock.lock();
  }
}

}  // namespace gantry::graph
