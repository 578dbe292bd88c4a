#include "client/commands/transfer.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/id.h"
#include "base/sys.h"
#include "client/commands/commands.h"
#include "client/commands/pull.h"
#include "client/options/specs.h"

namespace gantry::client {
namespace {

struct PullCommandOptions {
  bool all_tags = false, quiet = false, disable_content_trust = true, recompress = false;
  std::string platform;
};
constexpr Flag kPullFlags[] = {
    flag<&PullCommandOptions::all_tags>("all-tags", 'a',
                                        "Download all tagged images in the repository"),
    flag<&PullCommandOptions::disable_content_trust>(
        "disable-content-trust", 0, "Skip image verification", {.default_text = "true"}),
    flag<&PullCommandOptions::platform>("platform", 0,
                                        "Set platform if server is multi-platform capable"),
    flag<&PullCommandOptions::quiet>("quiet", 'q', "Suppress verbose output"),
};
const FlagGroup kPullGroups[] = {own_flags(kPullFlags)};
constexpr Flag kPushFlags[] = {
    flag<&PullCommandOptions::all_tags>("all-tags", 'a',
                                        "Push all tags of an image to the repository"),
    flag<&PullCommandOptions::disable_content_trust>(
        "disable-content-trust", 0, "Skip image signing", {.default_text = "true"}),
    flag<&PullCommandOptions::platform>(
        "platform", 0,
        "Push a platform-specific manifest as a single-platform image to the registry"),
    flag<&PullCommandOptions::quiet>("quiet", 'q', "Suppress verbose output"),
    flag<&PullCommandOptions::recompress>(
        "recompress", 0,
        "Compress layers anew, under another digest, whose originals cannot be had"),
};
const FlagGroup kPushGroups[] = {own_flags(kPushFlags)};

// "docker.io/library/busybox:latest", as pull prints it at its end.
std::string canonical(const std::string& reference) {
  ImageName name = split_image(reference);
  std::string& repository = name.repository;
  size_t slash = repository.find('/');
  std::string domain = slash == repository.npos ? "" : repository.substr(0, slash);
  if (domain.find_first_of(".:") == domain.npos && domain != "localhost")
    repository =
        "docker.io/" + std::string(slash == repository.npos ? "library/" : "") + repository;
  if (!name.digest.empty()) return repository + "@" + name.digest;
  return repository + ":" + (name.tag.empty() ? "latest" : name.tag);
}

Result<int> run_pull(Cli& cli, PullCommandOptions& options, Arguments& arguments) {
  const std::string& reference = arguments.front();
  TRY(check_reference(reference));
  ImageName name = split_image(reference);
  const bool bare = name.tag.empty() && name.digest.empty();
  if (options.all_tags && !bare) return invalid("tag can't be used with --all-tags/-a");
  if (bare && !options.all_tags && !options.quiet) print_out("Using default tag: latest\n");
  TRY(pull_image(
      cli, reference,
      {options.platform, options.quiet ? Progress::silent : Progress::shown, STDOUT_FILENO},
      options.all_tags ? Tags::all : Tags::one));
  std::string shown = canonical(reference);
  if (options.all_tags) shown.resize(shown.rfind(':'));
  print_out("{}\n", shown);
  return 0;
}

Result<int> run_push(Cli& cli, PullCommandOptions& options, Arguments& arguments) {
  const std::string& reference = arguments.front();
  TRY(check_reference(reference));
  ImageName name = split_image(reference);
  if (options.all_tags && !name.tag.empty()) return invalid("tag can't be used with --all-tags/-a");
  if (!options.all_tags && name.tag.empty() && !options.quiet)
    print_out("Using default tag: latest\n");
  Path path = Path::of({"images", name.repository, "push"});
  if (!options.all_tags) path.add("tag", name.tag.empty() ? "latest" : name.tag);
  path.add_if("platform", options.platform);
  path.flag("recompress", options.recompress);
  http::Headers headers;
  std::string auth = registry_auth(cli, reference);
  headers.add("X-Registry-Auth",
              auth.empty() ? "e30=" : auth);  // {} when there is none: the header is required
  Api* api = TRY(cli.api());
  http::Response response = TRY(api->stream("POST", path, std::move(headers)));
  TRY(show_messages(response, STDOUT_FILENO, options.quiet ? Progress::silent : Progress::shown));
  if (options.quiet) print_out("{}\n", canonical(reference));
  return 0;
}

}  // namespace

Result<UniqueFd> open_file(const std::string& path) {
  auto file = sys::open(path, O_RDONLY);
  if (file) return file;
  return Error(file.error().kind(),
               fmt::format("open {}: {}", path,
                           file.error().code() == ENOENT ? "no such file or directory"
                                                         : ::strerrordesc_np(file.error().code())),
               file.error().code());
}

Api::BodySource read_from(int fd) {
  return [fd](std::span<char> buffer) { return sys::read(fd, buffer.data(), buffer.size()); };
}

Status copy_body(http::Response& response, int fd) {
  char buffer[64u << 10];
  while (true) {
    size_t got = TRY(response.read_some(buffer));
    if (got == 0) return {};
    TRY(sys::write_all(fd, {buffer, got}));
  }
}

Status save_body(http::Response& response, const std::string& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) == 0 && !S_ISREG(status.st_mode)) {  // /dev/null, a pipe
    if (S_ISDIR(status.st_mode)) return invalid("invalid output path: directory \"{}\"", path);
    UniqueFd file = TRY(sys::open(path, O_WRONLY));
    return copy_body(response, file.get());
  }
  std::string temporary = fmt::format("{}.{}", path, random_hex(6));
  UniqueFd file = TRY(sys::open(temporary, O_WRONLY | O_CREAT | O_EXCL, 0600));
  Status copied = copy_body(response, file.get());
  if (copied && ::rename(temporary.c_str(), path.c_str()) != 0)
    copied = errno_error(errno, "rename {}", path);
  if (!copied) ::unlink(temporary.c_str());
  return copied;
}

std::span<const Command> transfer_commands() {
  static const Command commands[] = {
      command<PullCommandOptions, run_pull>({.name = "pull",
                                             .use = "[OPTIONS] NAME[:TAG|@DIGEST]",
                                             .summary = "Download an image from a registry",
                                             .arity = exactly(1),
                                             .flags = kPullGroups,
                                             .section = HelpSection::common}),
      command<PullCommandOptions, run_push>({.name = "push",
                                             .use = "[OPTIONS] NAME[:TAG]",
                                             .summary = "Upload an image to a registry",
                                             .arity = exactly(1),
                                             .flags = kPushGroups,
                                             .section = HelpSection::common}),
  };
  return commands;
}

}  // namespace gantry::client
