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

Result<FileId> id_of(int fd) {
  struct stat st = TRY(sys::fstat(fd));
  return FileId(st.st_dev, st.st_ino);
}

std::string directory_of(const std::string& path) {
  size_t slash = path.rfind('/');
  return slash == std::string::npos ? "." : path.substr(0, std::max<size_t>(slash, 1));
}

// Opens the log's files, the current one first. A rotation while we do it would make us miss a file
// or take one twice: then a name has become another file, or none, and we look again.
Result<std::vector<UniqueFd>> open_all(const shim::LogConfig& config) {
  std::vector<std::string> names = {config.path};
  for (int number = 1; number < config.max_files; ++number)
    names.push_back(fmt::format("{}.{}", config.path, number));
  for (;;) {
    std::vector<UniqueFd> files;
    std::vector<FileId> ids;
    for (const std::string& name : names) {
      Result<UniqueFd> file = sys::open(name, O_RDONLY | O_NOFOLLOW);
      if (!file && file.error().code() != ENOENT) return std::move(file).error();
      FileId id = file ? TRY(id_of(file->get())) : FileId();
      bool twice = file && std::find(ids.begin(), ids.end(), id) != ids.end();
      ids.push_back(twice ? FileId() : id);  // which the look below finds to be wrong
      if (file && !twice) files.push_back(std::move(*file));
      // A rotation under way leaves one gap; beyond two there is nothing, whatever max-file allows.
      if (!file && ids.size() > 1 && ids[ids.size() - 2] == FileId()) break;
    }
    bool same = true;
    for (size_t i = 0; i < ids.size() && same; ++i) {
      struct stat now;
      bool there = ::lstat(names[i].c_str(), &now) == 0;
      same = (there ? FileId(now.st_dev, now.st_ino) : FileId()) == ids[i];
    }
    if (same) return files;
  }
}

}  // namespace

Status LogReader::Impl::open_files() {
  std::vector<UniqueFd> opened = TRY(open_all(config));
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
  std::vector<UniqueFd> now = TRY(open_all(config));  // newest first
  if (files.empty()) {
    for (auto file = now.rbegin(); file != now.rend(); ++file)
      files.emplace_back(std::move(*file), format);
    return !files.empty();
  }
  FileId current = TRY(id_of(files.front().fd()));
  size_t newer = now.size();  // all, when ours has been rotated away
  for (size_t i = 0; i < now.size(); ++i) {
    FileId id = TRY(id_of(now[i].get()));
    if (id == current) newer = i;
  }
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

Result<std::optional<LogEntry>> LogReader::next(int cancel) {
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
