#include "drivers/exec/log_reader.h"

#include <poll.h>
#include <sys/inotify.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <deque>

#include "base/clock.h"
#include "base/sys.h"
#include "drivers/exec/log_file.h"

namespace gantry::drivers {

struct LogReader::Impl {
  shim::LogConfig config;
  LogQuery query;
  LogFormat format = LogFormat::json_file;
  std::deque<LogFile> files;  // oldest first; read from the front
  UniqueFd inotify;           // of the log's directory, while following
  UniqueFd finished;          // readable after finish()
  bool over = false;

  Status open_files();
  Status seek_tail();
  Status watch();
  Result<bool> next_file();
  Status wait(int cancel);
  bool is_finished() const;
};

namespace {

using FileId = std::pair<dev_t, ino_t>;

FileId id_of(const struct stat& st) { return {st.st_dev, st.st_ino}; }

std::string directory_of(const std::string& path) {
  size_t slash = path.rfind('/');
  return slash == std::string::npos ? "." : path.substr(0, std::max<size_t>(slash, 1));
}

// What is at one of the log's names: the plain file, or else the compressed one.
struct Found {
  std::string name;
  FileId id;  // of nothing: {}
  LogSource source;
};

Result<Found> look_at(const std::string& name, const std::string& directory, bool rotated) {
  Found found{name, {}, {}};
  Result<UniqueFd> file = sys::open(name, O_RDONLY | O_NOFOLLOW);
  if (!file && file.error().code() == ENOENT && rotated) {
    found.name += shim::kCompressedSuffix;
    found.source.compressed = true;
    file = sys::open(found.name, O_RDONLY | O_NOFOLLOW);
  }
  if (!file && file.error().code() == ENOENT) return found;
  if (!file) return std::move(file).error();
  struct stat st = TRY(sys::fstat(file->get()));
  found.id = id_of(st);
  found.source.identity = TRY(shim::identity_of(file->get()));
  if (found.source.compressed)
    found.source.identity =
        TRY(shim::compressed_identity(file->get())).value_or(found.source.identity);
  found.source.fd = std::move(*file);
  found.source.directory = directory;
  return found;
}

// Opens the log's files, the current one first. A rotation while we do it would make us miss a file
// or take one twice: then a name has become another file, or none, and we look again. So it is when
// one has been compressed meanwhile.
Result<std::vector<LogSource>> open_all(const shim::LogConfig& config) {
  const std::string directory = directory_of(config.path);
  for (;;) {
    std::vector<Found> files;
    bool same = true;
    for (int number = 0; number < config.max_files; ++number) {
      std::string name = number == 0 ? config.path : fmt::format("{}.{}", config.path, number);
      Found found = TRY(look_at(name, directory, number > 0));
      auto is_found = [&](const Found& other) {  // it has moved on while we looked
        const shim::LogIdentity& identity = other.source.identity;
        return other.id == found.id || (identity.born != 0 && identity == found.source.identity);
      };
      if (found.id != FileId()) same = same && std::none_of(files.begin(), files.end(), is_found);
      bool gap = number > 0 && found.id == FileId() && files.back().id == FileId();
      files.push_back(std::move(found));
      // A rotation under way leaves one gap; beyond two there is nothing, whatever max-file allows.
      if (gap) break;
    }
    for (const Found& file : files) {
      struct stat now;
      bool there = ::lstat(file.name.c_str(), &now) == 0;
      same = same && (there ? id_of(now) : FileId()) == file.id;
    }
    if (!same) continue;
    std::vector<LogSource> out;
    for (Found& file : files)
      if (file.source.fd) out.push_back(std::move(file.source));
    return out;
  }
}

}  // namespace

Status LogReader::Impl::open_files() {
  std::vector<LogSource> opened = TRY(open_all(config));
  for (auto file = opened.rbegin(); file != opened.rend(); ++file)
    files.emplace_back(std::move(*file), format);
  return {};
}

Status LogReader::Impl::seek_tail() {
  int64_t left = query.tail;
  for (size_t i = files.size(); i-- > 0;) {
    if (left == 0) {
      files.erase(files.begin(), files.begin() + static_cast<ptrdiff_t>(i + 1));
      return {};
    }
    left -= TRY(files[i].seek_from_end(left));
  }
  return {};
}

Status LogReader::Impl::watch() {
  inotify = UniqueFd(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
  if (!inotify) return error_from_errno(errno, "inotify_init");
  // The directory: its events name all the log's files, whatever their names become.
  std::string directory = directory_of(config.path);
  if (::inotify_add_watch(inotify.get(), directory.c_str(),
                          IN_MODIFY | IN_CREATE | IN_MOVED_TO | IN_DELETE_SELF) == -1)
    return errno_error(errno, "inotify {}", directory);
  return {};
}

bool LogReader::Impl::is_finished() const {
  pollfd entry{finished.get(), POLLIN, 0};
  return sys::retry([&] { return ::poll(&entry, 1, 0); }) > 0;
}

// The file after the front one: a file that we have open already, or what a rotation has put in its
// place. False when the front one is the log's last.
Result<bool> LogReader::Impl::next_file() {
  if (files.size() > 1) {
    files.pop_front();
    return true;
  }
  std::vector<LogSource> now = TRY(open_all(config));  // newest first
  if (files.empty()) {
    for (auto file = now.rbegin(); file != now.rend(); ++file)
      files.emplace_back(std::move(*file), format);
    return !files.empty();
  }
  size_t newer = now.size();  // all, when ours has been rotated away
  for (size_t i = 0; i < now.size(); ++i)
    if (now[i].identity == files.front().identity()) newer = i;
  if (newer == 0) return false;
  // The writer closed it before it went on with the next: what it holds now is all.
  for (size_t i = newer; i-- > 0;) files.emplace_back(std::move(now[i]), format);
  return true;
}

Status LogReader::Impl::wait(int cancel) {
  std::array<pollfd, 3> entries = {pollfd{inotify.get(), POLLIN, 0},
                                   pollfd{finished.get(), POLLIN, 0}, pollfd{cancel, POLLIN, 0}};
  int timeout = -1;
  if (query.until > 0)
    timeout = static_cast<int>(
        std::clamp<int64_t>((query.until - now_ns()) / 1'000'000 + 1, 0, 3'600'000));
  if (sys::retry([&] { return ::poll(entries.data(), entries.size(), timeout); }) == -1)
    return error_from_errno(errno, "poll");
  if (entries[2].revents) return make_error(ErrorKind::cancelled, "logs: cancelled");
  char events[4096];
  while (::read(inotify.get(), events, sizeof events) > 0) {
  }
  return {};
}

LogReader::LogReader(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
LogReader::~LogReader() = default;

Result<std::unique_ptr<LogReader>> LogReader::open(const shim::LogConfig& config,
                                                   const LogQuery& query) {
  if (config.driver != "json-file" && config.driver != "local")
    return unsupported("configured logging driver does not support reading");
  auto impl = std::make_unique<Impl>();
  impl->config = config;
  impl->query = query;
  impl->format = config.driver == "local" ? LogFormat::local : LogFormat::json_file;
  impl->finished = TRY(sys::eventfd(0, O_NONBLOCK));
  // The watch comes first: what is written after the files were read is then told.
  if (query.follow) TRY(impl->watch());
  TRY(impl->open_files());
  if (query.tail >= 0) TRY(impl->seek_tail());
  return std::unique_ptr<LogReader>(new LogReader(std::move(impl)));
}

Result<std::optional<LogEntry>> LogReader::next(int cancel) { return read(Wait::yes, cancel); }
Result<std::optional<LogEntry>> LogReader::ready() { return read(Wait::no, -1); }

Result<int64_t> LogReader::unread_bytes() const {
  int64_t bytes = 0;
  for (const LogFile& file : impl_->files) bytes += TRY(file.unread_bytes());
  std::vector<LogSource> there = TRY(open_all(impl_->config));
  for (LogSource& source : there) {  // newest first, up to those that we have
    if (!impl_->files.empty() && source.identity == impl_->files.back().identity()) break;
    bytes += TRY(LogFile(std::move(source), impl_->format).unread_bytes());
  }
  return bytes;
}

Result<std::optional<LogEntry>> LogReader::read(Wait wait, int cancel) {
  using Entry = std::optional<LogEntry>;
  Impl& log = *impl_;
  while (!log.over) {
    // Asked before the files are: what was written before finish() is read.
    bool last_round = !log.query.follow || log.is_finished() ||
                      (log.query.until > 0 && now_ns() > log.query.until);
    if (!log.files.empty()) {
      Entry entry = TRY(log.files.front().next());
      if (entry) {
        if (log.query.until > 0 && entry->time > log.query.until) break;
        if (entry->time < log.query.since) continue;
        return entry;
      }
      if (log.query.follow) TRY(log.files.front().check_truncated());
    }
    if (log.files.size() > 1 || log.query.follow) {
      bool more = TRY(log.next_file());
      if (more) continue;
      if (!log.files.empty()) {
        // It may have grown, or begun anew, between the two looks.
        Entry entry = TRY(log.files.front().next());
        if (entry && (log.query.until == 0 || entry->time <= log.query.until)) {
          if (entry->time < log.query.since) continue;
          return entry;
        }
        if (entry) break;
      }
    }
    if (last_round) break;
    if (wait == Wait::no) return Entry();
    TRY(log.wait(cancel));
  }
  log.over = true;
  return Entry();
}

void LogReader::finish() {
  uint64_t one = 1;
  (void)!::write(impl_->finished.get(), &one, sizeof one);
}

}  // namespace gantry::drivers
