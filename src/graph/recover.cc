// A new database out of a damaged one.
#include <sqlite3.h>
#include <sys/stat.h>

#include <cerrno>

#include "base/clock.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/sys.h"
#include "graph/check.h"

namespace gantry::graph {
namespace {

// In the order in which their rows can refer to each other. `key` is what the rows are read in
// order of: forwards up to the damage, then backwards down to it.
struct Table {
  const char* name;
  const char* columns;
  const char* key;
  int64_t Recovery::*count;
};
constexpr Table kTables[] = {
    {"node", "id, kind, key, data, size, created_at, used_at", "rowid", &Recovery::nodes},
    {"edge", "src, kind, position, dst", "src", &Recovery::edges},
    {"name", "kind, name, node", "kind", &Recovery::names},
    {"setting", "key, value", "key", nullptr},
    {"resource", "id, kind, name, owner, job, state, data, boot_id, created_at", "rowid",
     &Recovery::resources},
};

// Copies rows until the end or the damage; false at the damage.
bool copy_rows(sqlite3* from, Connection& to, const Table& table, const char* direction,
               int64_t& copied) {
  std::string select = fmt::format("SELECT {} FROM {} ORDER BY {} {}", table.columns, table.name,
                                   table.key, direction);
  sqlite3_stmt* rows = nullptr;
  if (sqlite3_prepare_v2(from, select.c_str(), -1, &rows, nullptr) != SQLITE_OK) return false;
  std::unique_ptr<sqlite3_stmt, int (*)(sqlite3_stmt*)> owner(rows, sqlite3_finalize);
  int columns = sqlite3_column_count(rows);
  std::string marks = "?";
  for (int i = 1; i < columns; ++i) marks += ",?";
  Result<Statement> insert = to.prepare(
      fmt::format("INSERT OR IGNORE INTO {}({}) VALUES({})", table.name, table.columns, marks));
  if (!insert) return false;
  for (;;) {
    int code = sqlite3_step(rows);
    if (code == SQLITE_DONE) return true;
    if (code != SQLITE_ROW) return false;
    for (int i = 0; i < columns; ++i) {
      if (sqlite3_column_type(rows, i) == SQLITE_INTEGER) {
        insert->bind(i + 1, static_cast<int64_t>(sqlite3_column_int64(rows, i)));
      } else {
        const auto* text = reinterpret_cast<const char*>(sqlite3_column_text(rows, i));
        insert->bind(i + 1, std::string_view(text ? text : "",
                                             static_cast<size_t>(sqlite3_column_bytes(rows, i))));
      }
    }
    // A row that refers to one that was lost is lost with it.
    bool inserted = insert->run().has_value() && to.changes() == 1;
    insert->reset();
    if (inserted) ++copied;
  }
}

// Reads what can be read into `recovery`'s counts; false when the file could not be read at all.
bool salvage(const std::string& damaged, Transaction& tx, Recovery& recovery) {
  sqlite3* from = nullptr;
  int code =
      sqlite3_open_v2(damaged.c_str(), &from, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, nullptr);
  std::unique_ptr<sqlite3, int (*)(sqlite3*)> owner(from, sqlite3_close);
  if (code != SQLITE_OK) return false;
  bool anything = false;
  recovery.not_read.clear();
  for (const Table& table : kTables) {
    int64_t copied = 0;
    bool whole = copy_rows(from, tx.connection(), table, "ASC", copied);
    if (!whole) {
      copy_rows(from, tx.connection(), table, "DESC", copied);
      recovery.not_read.push_back(
          fmt::format("part of the table {} ({} rows were read)", table.name, copied));
    }
    if (table.count) recovery.*table.count += copied;
    anything |= whole || copied > 0;
  }
  return anything;
}

constexpr size_t kPage = 4096;  // SQLite's default, which nothing here changes

uint32_t big_endian(std::string_view bytes, size_t at) {
  uint32_t value = 0;
  for (size_t i = 0; i < 4; ++i) value = value << 8 | static_cast<unsigned char>(bytes[at + i]);
  return value;
}

// The first page of an empty database with the present schema. Tables are made in one order, so
// their roots are at the same pages as in the damaged one, if that was made by this schema.
Result<std::string> first_page(const std::string& scratch) {
  {
    std::unique_ptr<Database> database = TRY(Database::open(scratch));
    TRY(database->checkpoint());
  }
  std::string bytes = TRY(fs::read_file(scratch));
  for (const char* suffix : {"", "-wal", "-shm", ".lock"}) TRY(fs::remove_tree(scratch + suffix));
  return bytes.substr(0, kPage);
}

// Makes a copy to read from (the damaged file itself stays as it is) of the length its header
// promises: SQLite reads nothing of a file that is too short (fileformat2.html, 1.3.7).
Status copy_to_read(const std::string& damaged, const std::string& copy,
                    const std::string* page_one) {
  std::string bytes = TRY(fs::read_file(damaged, size_t{4} << 30));
  uint64_t pages = (bytes.size() + kPage - 1) / kPage;
  if (page_one) {
    if (bytes.size() < kPage) bytes.resize(kPage);
    bytes.replace(0, kPage, *page_one);
    for (size_t i = 0; i < 4; ++i) bytes[28 + i] = static_cast<char>(pages >> (24 - 8 * i));
  } else if (bytes.size() >= 100) {
    constexpr uint64_t kMostMissing = 1 << 18;  // 1 GiB, of holes
    uint64_t promised = big_endian(bytes, 28);
    if (promised > pages && promised - pages < kMostMissing) pages = promised;
  }
  TRY(fs::write_file(copy, bytes));
  UniqueFd file = TRY(sys::open(copy, O_RDWR));
  TRY(sys::ftruncate(file.get(), static_cast<off_t>(pages * kPage)));
  if (!fs::exists(damaged + "-wal")) return {};
  std::string wal = TRY(fs::read_file(damaged + "-wal", size_t{4} << 30));
  return fs::write_file(copy + "-wal", wal);
}

Status remove_copy(const std::string& copy) {
  for (const char* suffix : {"", "-wal", "-shm"}) TRY(fs::remove_tree(copy + suffix));
  return {};
}

// Once as it is, and when nothing comes of that, with a first page in place of its own.
Status take_over(const std::string& damaged, const std::string& page_one, Transaction& tx,
                 Recovery& recovery) {
  const std::string copy = damaged + ".reading";
  bool read = false;
  for (const std::string* page : {static_cast<const std::string*>(nullptr), &page_one}) {
    TRY(remove_copy(copy));
    TRY(copy_to_read(damaged, copy, page));
    read = salvage(copy, tx, recovery);
    if (read && recovery.nodes > 0) break;
  }
  if (!read) recovery.not_read = {"the whole database"};
  return remove_copy(copy);
}

Status add_found_blobs(const Graph& graph, Transaction& tx, const ContentStore& content,
                       Recovery& recovery) {
  std::vector<ContentStore::Info> files = TRY(content.list());
  for (const ContentStore::Info& file : files) {
    bool known = TRY(graph.read(tx).contains(NodeKind::blob, file.digest.text()));
    if (known) continue;
    TRY(graph.put(tx, {.kind = NodeKind::blob,
                       .key = file.digest.text(),
                       .data = {},
                       .size = file.size,
                       .created_at = file.modified_at}));
    ++recovery.blobs;
  }
  return {};
}

// Moves the database and what belongs to it; "" when there is none.
Result<std::string> move_aside(const std::string& path) {
  if (!fs::exists(path)) return std::string();
  std::string aside = fmt::format("{}.damaged-{}", path, now_ns() / 1'000'000'000);
  for (int n = 1; fs::exists(aside); ++n)
    aside = fmt::format("{}.damaged-{}.{}", path, now_ns() / 1'000'000'000, n);
  // The WAL goes with its database, or its commits are lost; the index of it is made anew.
  if (fs::exists(path + "-wal"))
    TRY(sys::renameat(AT_FDCWD, path + "-wal", AT_FDCWD, aside + "-wal"));
  TRY(fs::remove_tree(path + "-shm"));
  TRY(sys::renameat(AT_FDCWD, path, AT_FDCWD, aside));
  return aside;
}

// Damage shows when the file is opened, or only in the pages that are looked at.
Result<bool> is_sound(Database& database) {
  Snapshot snapshot = TRY(database.read());
  Result<Statement> check = snapshot.connection().query("PRAGMA quick_check(1)");
  if (!check) return false;
  Result<bool> row = check->step();
  return row && *row && check->text(0) == "ok";
}

}  // namespace

Result<std::unique_ptr<Database>> open_or_recover(const std::string& path,
                                                  const ContentStore& content,
                                                  std::optional<Recovery>* recovery) {
  bool existed = fs::exists(path);
  Result<std::unique_ptr<Database>> opened = Database::open(path);
  // Someone else's, a newer one's, no space, no permission: not damage.
  if (!opened && opened.error().kind() != ErrorKind::internal) return opened;
  if (opened) {
    bool sound = !existed || TRY(is_sound(**opened));
    std::vector<ContentStore::Info> files;
    if (!existed) files = TRY(content.list());
    if (sound && files.empty()) return opened;
    if (sound) {
      // The database was deleted and content is there: it gets its nodes back.
      Recovery found;
      Graph graph(**opened);
      auto add = [&](Transaction& tx) -> Status {
        TRY(graph.set_setting(tx, kRecoveredKey, "1"));
        return add_found_blobs(graph, tx, content, found);
      };
      TRY((*opened)->write(Durability::full, Space::ordinary, add));
      *recovery = std::move(found);
      return opened;
    }
    opened->reset();
  }
  Recovery found;
  found.kept_as = TRY(move_aside(path));
  log::warn("database {} is damaged; it is kept as {} and made again", path, found.kept_as);
  std::unique_ptr<Database> database = TRY(Database::open(path));
  std::string page_one = TRY(first_page(found.kept_as + ".scratch"));
  Graph graph(*database);
  auto fill = [&](Transaction& tx) -> Status {
    TRY(take_over(found.kept_as, page_one, tx, found));
    TRY(graph.set_setting(tx, kRecoveredKey, "1"));
    return add_found_blobs(graph, tx, content, found);
  };
  TRY(database->write(Durability::full, Space::ordinary, fill));
  *recovery = std::move(found);
  return database;
}

}  // namespace gantry::graph
