// Files between a container and this machine. What the names of the two ends mean (what exists,
// what ends in "/" or "/.") are the rules of Docker's client,
// docs.docker.com/reference/cli/docker/container/cp.
#include "client/commands/cp.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <thread>

#include "base/base64.h"
#include "base/sys.h"
#include "base/tree_archive.h"
#include "base/tree_extract.h"
#include "base/units.h"
#include "client/commands/commands.h"
#include "client/commands/transfer.h"
#include "client/io/terminal.h"

namespace gantry::client {
namespace {

struct CpOptions {
  bool archive = false, follow_link = false, quiet = false;
};
constexpr Flag kCpFlags[] = {
    flag<&CpOptions::archive>("archive", 'a', "Archive mode (copy all uid/gid information)"),
    flag<&CpOptions::follow_link>("follow-link", 'L', "Always follow symbol link in SRC_PATH"),
    flag<&CpOptions::quiet>("quiet", 'q',
                            "Suppress progress output during copy. Progress\n"
                            "output is automatically suppressed if no terminal\n"
                            "is attached"),
};
const FlagGroup kCpGroups[] = {own_flags(kCpFlags)};

constexpr uint32_t kGoDirectory = 1u << 31, kGoSymlink = 1u << 27, kGoDevice = 1u << 26;

struct End {
  std::string container;  // "": this machine
  std::string path;
};

End end_of(const std::string& argument) {
  size_t colon = argument.find(':');
  if (argument.starts_with('/') || argument.starts_with('.') || colon == argument.npos)
    return {"", argument};
  return {argument.substr(0, colon), argument.substr(colon + 1)};
}

bool means_contents(std::string_view path) { return path == "." || path.ends_with("/."); }
bool means_directory(std::string_view path) { return path.ends_with('/') || means_contents(path); }

// Without "." and "..", double and trailing slashes.
std::string clean(const std::string& path) {
  std::string out = std::filesystem::path(path.empty() ? "." : path).lexically_normal().string();
  while (out.size() > 1 && out.back() == '/') out.pop_back();
  return out;
}

struct Split {
  std::string directory, base;
};
// "a/b/" is b in a; "a/b/." is . in a/b.
Split split(const std::string& path) {
  std::string cleaned = clean(path);
  if (means_contents(path)) return {cleaned, "."};
  size_t slash = cleaned.rfind('/');
  if (slash == cleaned.npos) return {".", cleaned};
  return {slash == 0 ? "/" : cleaned.substr(0, slash),
          cleaned == "/" ? "/" : cleaned.substr(slash + 1)};
}

// One end of a copy, as what is there says.
struct Place {
  std::string path;
  bool exists = false, directory = false;
  std::string name;  // what it is to be called when that is not the path's last component
  std::string base() const { return name.empty() ? split(path).base : name; }
};

// Where an archive of `from` goes, and what its top entry is called there.
struct Target {
  std::string directory;
  std::optional<std::string> name;  // absent: as it is
};
Result<Target> target_of(const Place& from, const Place& to) {
  if (to.exists && to.directory) {
    if (from.name.empty()) return Target{to.path, std::nullopt};
    return Target{to.path, from.name};
  }
  if (to.exists && from.directory) return invalid("cannot copy directory");
  if (!to.exists && !from.directory && means_directory(to.path))
    return invalid("no such directory");
  Split parts = split(to.path.ends_with("/.") ? clean(to.path) : to.path);
  return Target{parts.directory, parts.base};
}

Path archive_path(const End& end, const std::string& path) {
  Path out = Path::of({"containers", end.container, "archive"});
  out.add("path", path);
  return out;
}

struct Remote {
  uint32_t mode = 0;
  std::string link;
};
Result<Remote> remote_of(const http::Headers& headers) {
  std::string text = TRY(base64_decode(headers.get("X-Docker-Container-Path-Stat")));
  json::value stat = TRY(json::parse(text).context("unable to decode container path stat header"));
  return Remote{static_cast<uint32_t>(number_of(stat, "mode")), text_of(stat, "linkTarget")};
}

Result<Remote> stat_remote(Api& api, const End& end, const std::string& path) {
  http::Response response = TRY(api.stream("HEAD", archive_path(end, path)));
  return remote_of(response.headers());
}

// "a/" and "a/." say of the link a what they say of what it leads to.
void lead_to(Place& place, std::string link) {
  std::string asked = place.path;
  if (means_contents(asked))
    link += "/.";
  else if (asked.ends_with('/'))
    link += "/";
  std::string wanted = split(asked).base;
  place.path = std::move(link);
  if (wanted != split(place.path).base) place.name = wanted;
}

Error local_error(int code, std::string_view call, const std::string& path) {
  return Error(ErrorKind::invalid,
               fmt::format("{} {}: {}", call, path,
                           code == ENOENT ? "no such file or directory" : ::strerrordesc_np(code)),
               code);
}

Result<Place> local_source(const std::string& path, bool follow) {
  Place place{path};
  struct stat st {};
  if (follow) {
    std::error_code error;
    std::filesystem::path real = std::filesystem::canonical(path, error);
    if (error) return local_error(error.value(), "lstat", path);
    lead_to(place, real.string());
  }
  if (::fstatat(AT_FDCWD, place.path.c_str(), &st, AT_SYMLINK_NOFOLLOW) == -1)
    return local_error(errno, "lstat", place.path);
  place.exists = true;
  place.directory = S_ISDIR(st.st_mode);
  return place;
}

Result<Place> local_destination(const std::string& path) {
  Place place{path};
  struct stat st {};
  if (::stat(path.c_str(), &st) == 0) {
    place.exists = true;
    place.directory = S_ISDIR(st.st_mode);
    if (!place.directory && !S_ISREG(st.st_mode))
      return invalid("invalid output path: \"{}\" must be a directory or a regular file", path);
    std::error_code error;
    std::filesystem::path real = std::filesystem::canonical(path, error);
    if (error) return local_error(error.value(), "lstat", path);
    place.path = real.string();
    return place;
  }
  std::string parent = split(clean(path)).directory;
  if (::stat(parent.c_str(), &st) == -1)
    return invalid("invalid output path: directory \"{}\" does not exist", parent);
  if (!S_ISDIR(st.st_mode)) return invalid("not a directory");
  return place;
}

void tell(const CpOptions& options, uint64_t bytes, const std::string& where) {
  if (options.quiet || !is_terminal(STDERR_FILENO)) return;
  print_error(fmt::format("Successfully copied {} to {}", human_size(static_cast<double>(bytes), 3),
                          where));
}

class Counted final : public ByteSource {
 public:
  explicit Counted(http::Response& response) : response_(response) {}
  Result<size_t> read(std::span<char> into) override {
    size_t got = TRY(response_.read_some(into));
    bytes += got;
    return got;
  }
  uint64_t bytes = 0;

 private:
  http::Response& response_;
};

Result<int> copy_out(Cli& cli, const CpOptions& options, const End& from, const std::string& to) {
  Api* api = TRY(cli.api());
  Place source{from.path};
  if (options.follow_link) {
    Result<Remote> found = stat_remote(*api, from, from.path);
    if (found && (found->mode & kGoSymlink)) lead_to(source, found->link);
  }
  Place destination;
  if (to != "-") destination = TRY(local_destination(to));
  http::Response response = TRY(api->stream("GET", archive_path(from, source.path)));
  if (to == "-") {
    TRY(copy_body(response, STDOUT_FILENO));
    return 0;
  }
  Remote stat = TRY(remote_of(response.headers()));
  source.exists = true;
  source.directory = (stat.mode & kGoDirectory) != 0;
  Target target = TRY(target_of(source, destination));
  ExtractOptions extract;
  extract.keep_kinds = true;
  extract.set_owner = false;
  if (target.name) extract.rename = {split(source.path).base, *target.name};
  UniqueFd root = TRY(sys::open(target.directory, O_RDONLY | O_DIRECTORY));
  const char* temporary = ::getenv("TMPDIR");
  UniqueFd scratch =
      TRY(sys::open(temporary && *temporary ? temporary : "/tmp", O_RDONLY | O_DIRECTORY));
  Counted archive(response);
  TRY(extract_tree(root.get(), "/", scratch.get(), archive, extract));
  tell(options, archive.bytes, to);
  return 0;
}

// The archive is made by a thread while it is sent.
class Sender {
 public:
  Sender(UniqueFd directory, std::string name, std::string shown)
      : pipe_(std::make_shared<BytePipe>()),
        thread_([pipe = pipe_, directory = std::move(directory), name = std::move(name),
                 shown = std::move(shown)] {
          Status written = write_subtree(directory.get(), name, shown, *pipe);
          written ? pipe->finish() : pipe->fail(std::move(written).error());
        }) {}
  Sender(const Sender&) = delete;
  ~Sender() {
    pipe_->close_reader();
    thread_.join();
  }
  Result<size_t> read(std::span<char> into) {
    size_t got = TRY(pipe_->read(into));
    bytes += got;
    return got;
  }
  uint64_t bytes = 0;

 private:
  std::shared_ptr<BytePipe> pipe_;
  std::thread thread_;
};

Status send(Api& api, const CpOptions& options, const End& to, const std::string& directory,
            Api::BodySource body) {
  Path path = archive_path(to, directory);
  path.add("noOverwriteDirNonDir", "true");
  if (options.archive) path.add("copyUIDGID", "true");
  TRY(api.upload("PUT", path, {std::move(body), "application/x-tar", {}}));
  return {};
}

Result<int> copy_in(Cli& cli, const CpOptions& options, const std::string& from, const End& to) {
  Api* api = TRY(cli.api());
  // What is wrong with the source is told without asking.
  Place source;
  if (from != "-") source = TRY(local_source(from, options.follow_link));
  Place destination{to.path};
  Result<Remote> found = stat_remote(*api, to, to.path);
  if (found && (found->mode & kGoSymlink)) {
    destination.path = found->link;
    found = stat_remote(*api, to, destination.path);
  }
  if (found) {
    if (found->mode & kGoDevice)
      return invalid("destination \"{}:{}\" must be a directory or a regular file", to.container,
                     to.path);
    destination.exists = true;
    destination.directory = (found->mode & kGoDirectory) != 0;
  }
  if (from == "-") {
    if (found && !destination.directory)
      return invalid("destination \"{}:{}\" must be a directory", to.container, to.path);
    TRY(send(*api, options, to, destination.path, read_from(STDIN_FILENO)));
    return 0;
  }
  Target target = TRY(target_of(source, destination));
  Split parts = split(source.path);
  UniqueFd directory = TRY(sys::open(parts.directory, O_RDONLY | O_DIRECTORY));
  Sender sender(std::move(directory), parts.base == "/" ? "." : parts.base,
                target.name.value_or(parts.base));
  TRY(send(*api, options, to, target.directory,
           [&](std::span<char> into) { return sender.read(into); }));
  tell(options, sender.bytes, to.container + ":" + to.path);
  return 0;
}

Result<int> run_cp(Cli& cli, CpOptions& options, Arguments& arguments) {
  if (arguments[0].empty()) return invalid("source can not be empty");
  if (arguments[1].empty()) return invalid("destination can not be empty");
  End from = end_of(arguments[0]), to = end_of(arguments[1]);
  if (!from.container.empty() && !to.container.empty())
    return invalid("copying between containers is not supported");
  if (!from.container.empty()) return copy_out(cli, options, from, to.path);
  if (!to.container.empty()) return copy_in(cli, options, from.path, to);
  return invalid("must specify at least one container source");
}

}  // namespace

std::span<const Command> cp_commands() {
  static const Command commands[] = {
      command<CpOptions, run_cp>(
          {.name = "cp",
           .use = "[OPTIONS] CONTAINER:SRC_PATH DEST_PATH|-\n"
                  "\tgantry cp [OPTIONS] SRC_PATH|- CONTAINER:DEST_PATH",
           .summary = "Copy files/folders between a container and the local filesystem",
           .details = "Use '-' as the source to read a tar archive from stdin\n"
                      "and extract it to a directory destination in a container.\n"
                      "Use '-' as the destination to stream a tar archive of a\n"
                      "container source to stdout.",
           .arity = exactly(2),
           .flags = kCpGroups}),
  };
  return commands;
}

}  // namespace gantry::client
