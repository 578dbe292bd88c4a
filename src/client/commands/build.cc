// gantry build and gantry builder: an image out of a Dockerfile. The context is sent as an archive,
// without what .dockerignore names; the daemon does the rest.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <thread>

#include "base/base64.h"
#include "base/fs.h"
#include "base/id.h"
#include "base/sys.h"
#include "base/tree_archive.h"
#include "base/tree_extract.h"
#include "base/tree_walk.h"
#include "base/units.h"
#include "builder/dockerfile.h"
#include "builder/patterns.h"
#include "client/commands/commands.h"
#include "client/commands/credentials.h"
#include "client/commands/pull.h"
#include "client/commands/transfer.h"
#include "client/io/terminal.h"
#include "client/options/specs.h"

namespace gantry::client {
namespace {

struct BuildOptions {
  std::string file, target, platform, network, iidfile, metadata_file, progress = "auto";
  std::string memory, memory_swap, shm_size, cpuset_cpus, cpuset_mems, cgroup_parent, call;
  int64_t cpu_shares = 0, cpu_period = 0, cpu_quota = 0;
  std::vector<std::string> tag, build_arg, label, add_host, secret, output, ulimit, cache_from;
  bool pull = false, no_cache = false, quiet = false, squash = false, check = false;
};
constexpr Flag kBuildFlags[] = {
    flag<&BuildOptions::add_host>("add-host", 0, "Add a custom host-to-IP mapping (\"host:ip\")"),
    flag<&BuildOptions::build_arg>("build-arg", 0, "Set build-time variables"),
    flag<&BuildOptions::cache_from>("cache-from", 0, "Images to consider as cache sources",
                                    {.type = "strings"}),
    flag<&BuildOptions::call>("call", 0,
                              "What to do: \"build\", \"check\", \"outline\" or \"targets\""),
    flag<&BuildOptions::cgroup_parent>("cgroup-parent", 0,
                                       "Set the parent cgroup for the RUN instructions"),
    flag<&BuildOptions::check>("check", 0, "Shorthand for \"--call=check\""),
    flag<&BuildOptions::cpu_period>("cpu-period", 0, "Limit the CPU CFS period"),
    flag<&BuildOptions::cpu_quota>("cpu-quota", 0, "Limit the CPU CFS quota"),
    flag<&BuildOptions::cpu_shares>("cpu-shares", 'c', "CPU shares (relative weight)"),
    flag<&BuildOptions::cpuset_cpus>("cpuset-cpus", 0,
                                     "CPUs in which to allow execution (0-3, 0,1)"),
    flag<&BuildOptions::cpuset_mems>("cpuset-mems", 0,
                                     "MEMs in which to allow execution (0-3, 0,1)"),
    flag<&BuildOptions::file>("file", 'f', "Name of the Dockerfile (default: \"PATH/Dockerfile\")"),
    flag<&BuildOptions::iidfile>("iidfile", 0, "Write the image ID to a file"),
    flag<&BuildOptions::label>("label", 0, "Set metadata for an image"),
    flag<&BuildOptions::memory>("memory", 'm', "Memory limit", {.type = "bytes"}),
    flag<&BuildOptions::memory_swap>(
        "memory-swap", 0, "Swap limit equal to memory plus swap: -1 to enable unlimited swap",
        {.type = "bytes"}),
    flag<&BuildOptions::metadata_file>("metadata-file", 0, "Write build result metadata to a file"),
    flag<&BuildOptions::network>("network", 0,
                                 "Set the networking mode for the RUN instructions during build"),
    flag<&BuildOptions::no_cache>("no-cache", 0, "Do not use cache when building the image"),
    flag<&BuildOptions::output>("output", 'o',
                                "Output destination (format: \"type=local,dest=path\")",
                                {.type = "stringArray"}),
    flag<&BuildOptions::platform>("platform", 0, "Set target platform for build"),
    flag<&BuildOptions::progress>("progress", 0,
                                  "Set type of progress output (\"auto\", \"plain\", \"quiet\", "
                                  "\"rawjson\")",
                                  {.default_text = "\"auto\""}),
    flag<&BuildOptions::pull>("pull", 0, "Always attempt to pull all referenced images"),
    flag<&BuildOptions::quiet>("quiet", 'q',
                               "Suppress the build output and print image ID on success"),
    flag<&BuildOptions::secret>(
        "secret", 0,
        "Secret to expose to the build (format:\n\"id=mysecret[,src=/local/secret]\")",
        {.type = "stringArray"}),
    flag<&BuildOptions::shm_size>("shm-size", 0, "Size of \"/dev/shm\"", {.type = "bytes"}),
    flag<&BuildOptions::squash>("squash", 0, "Squash newly built layers into a single new layer"),
    flag<&BuildOptions::tag>("tag", 't', "Name and optionally a tag (format: \"name:tag\")",
                             {.type = "stringArray"}),
    flag<&BuildOptions::target>("target", 0, "Set the target build stage to build"),
    flag<&BuildOptions::ulimit>("ulimit", 0, "Ulimit options", {.type = "ulimit"}),
};
const FlagGroup kBuildGroups[] = {own_flags(kBuildFlags)};

struct BuilderPruneOptions {
  bool all = false, force = false;
  std::vector<std::string> filter;
  std::string keep_storage;
};
constexpr Flag kPruneFlags[] = {
    flag<&BuilderPruneOptions::all>("all", 'a',
                                    "Remove all unused build cache, not just dangling ones"),
    flag<&BuilderPruneOptions::filter>("filter", 0,
                                       "Provide filter values (e.g. \"until=24h\")",
                                       {.type = "filter", .set = set_filter}),
    flag<&BuilderPruneOptions::force>("force", 'f', "Do not prompt for confirmation"),
    flag<&BuilderPruneOptions::keep_storage>("keep-storage", 0,
                                             "Amount of disk space to keep for cache",
                                             {.type = "bytes"}),
};
const FlagGroup kPruneGroups[] = {own_flags(kPruneFlags)};

// ---- the context

struct Source {
  std::string directory;   // "": `remote`, or standard input
  std::string remote;      // a URL
  bool standard_input = false;
  std::string dockerfile;  // its name in the context
  std::string text;        // and contents, where the client has read it
  bool extra = false;      // it is not in the context, and sent beside it
};

bool is_url(const std::string& text) {
  return text.starts_with("http://") || text.starts_with("https://") ||
         text.starts_with("git://") || text.starts_with("git@") ||
         text.starts_with("github.com/");
}

Result<std::string> read_text(const std::string& file) {
  if (file == "-") return sys::read_all(STDIN_FILENO, builder::kMaxDockerfile);
  UniqueFd fd = TRY(open_file(file));
  return sys::read_all(fd.get(), builder::kMaxDockerfile);
}

Result<Source> source_of(const BuildOptions& options, const std::string& argument) {
  Source out;
  if (is_url(argument)) {
    out.remote = argument;
    out.dockerfile = options.file;
    if (options.file == "-")
      return invalid("a Dockerfile on standard input and a remote context cannot be used together");
    return out;
  }
  if (argument == "-") {
    if (options.file == "-")
      return invalid("invalid argument: can't use stdin for both build context and dockerfile");
    out.standard_input = true;
    out.dockerfile = options.file;
    return out;
  }
  struct stat st;
  if (::stat(argument.c_str(), &st) == -1 || !S_ISDIR(st.st_mode))
    return invalid("unable to prepare context: path \"{}\" not found", argument);
  out.directory = argument;
  std::string path = options.file;
  if (path.empty()) {
    path = argument + "/Dockerfile";
    if (::access(path.c_str(), F_OK) == -1 && ::access((argument + "/dockerfile").c_str(), F_OK) == 0)
      path = argument + "/dockerfile";
  }
  Result<std::string> text = read_text(path);
  if (!text)
    return invalid("unable to prepare context: unable to evaluate symlinks in Dockerfile path: {}",
                   text.error().message());
  out.text = text.release();
  if (out.text.empty()) return invalid("the Dockerfile ({}) cannot be empty", path);
  // Inside of the context it has a name there; from elsewhere it is sent beside it.
  std::error_code failed;
  std::filesystem::path inside;
  if (path != "-") {
    std::filesystem::path whole = std::filesystem::canonical(path, failed);
    std::filesystem::path root = std::filesystem::canonical(argument, failed);
    inside = whole.lexically_relative(root);
  }
  if (path == "-" || inside.empty() || inside.string().starts_with("..")) {
    out.extra = true;
    out.dockerfile = ".dockerfile." + random_hex(10);
  } else {
    out.dockerfile = inside.string();
  }
  return out;
}

Result<builder::IgnoreList> ignore_list(const Source& source) {
  for (const std::string& name : {source.dockerfile + ".dockerignore", std::string(".dockerignore")}) {
    Result<std::string> text = fs::read_file(source.directory + "/" + name, 4u << 20);
    if (!text && text.error().kind() == ErrorKind::not_found) continue;
    if (!text) return std::move(text).error();
    return builder::IgnoreList::parse(*text);
  }
  return builder::IgnoreList();
}

Status write_context(const Source& source, ByteSink& out) {
  builder::IgnoreList ignore = TRY(ignore_list(source));
  UniqueFd root = TRY(sys::open(source.directory, O_RDONLY | O_DIRECTORY));
  TreeArchiver archive(out);
  if (source.extra) {
    TRY(archive.add_text(source.dockerfile, source.text));
    // What the daemon leaves out as well: the context's own list, and these two files.
    const std::string name = source.dockerfile + ".dockerignore";
    Result<std::string> own = fs::read_file(source.directory + "/.dockerignore", 4u << 20);
    TRY(archive.add_text(name, (own ? *own + "\n" : "") + source.dockerfile + "\n" + name + "\n"));
  }
  auto wanted = [&](const std::string& path) {
    return path == source.dockerfile || path == ".dockerignore" ||
           path == source.dockerfile + ".dockerignore";
  };
  TRY(walk_tree(root.get(), [&](const TreeEntry& entry) -> Result<Descend> {
    const bool directory = S_ISDIR(entry.st.st_mode);
    if (ignore.ignores(entry.path) && !wanted(entry.path)) {
      // Something below it may be wanted all the same.
      const bool may = directory && (ignore.has_exceptions() ||
                                     source.dockerfile.starts_with(entry.path + "/"));
      return may ? Descend::yes : Descend::no;
    }
    TRY(archive.add(entry.path, entry.directory, entry.name));
    return Descend::yes;
  }));
  return archive.finish();
}

// What came on standard input: an archive, or a Dockerfile alone, which its first bytes tell.
class StandardInput {
 public:
  static Result<std::unique_ptr<StandardInput>> open() {
    if (is_terminal(STDIN_FILENO))
      return invalid("a build context is expected on standard input, which is a terminal");
    auto out = std::make_unique<StandardInput>();
    out->head_.resize(512);
    FdSource source(STDIN_FILENO);
    size_t got = TRY(read_full(source, out->head_));
    out->head_.resize(got);
    if (!looks_packed(out->head_)) {
      std::string rest = TRY(sys::read_all(STDIN_FILENO, builder::kMaxDockerfile));
      std::string text = out->head_ + rest;
      StringSink sink;
      tar::Writer writer(sink);
      tar::Entry entry;
      entry.path = "Dockerfile";
      entry.mode = 0600;
      entry.size = text.size();
      TRY(writer.add(entry, text));
      TRY(writer.finish());
      out->head_ = std::move(sink.bytes());
      out->ended_ = true;
    }
    return out;
  }
  Result<size_t> read(std::span<char> into) {
    if (used_ < head_.size()) {
      size_t part = std::min(into.size(), head_.size() - used_);
      std::copy_n(head_.data() + used_, part, into.data());
      used_ += part;
      return part;
    }
    if (ended_) return size_t{0};
    return sys::read(STDIN_FILENO, into.data(), into.size());
  }

 private:
  static bool looks_packed(std::string_view head) {
    using namespace std::string_view_literals;
    for (std::string_view magic : {"\x1f\x8b"sv, "\x28\xb5\x2f\xfd"sv, "\xfd""7zXZ\0"sv, "BZh"sv})
      if (head.starts_with(magic)) return true;
    return head.size() == 512 && (head.substr(257, 5) == "ustar" || head.find('\0') != head.npos);
  }
  std::string head_;
  size_t used_ = 0;
  bool ended_ = false;
};

class Sender {
 public:
  explicit Sender(const Source& source)
      : pipe_(std::make_shared<BytePipe>()), thread_([pipe = pipe_, source] {
          Status written = write_context(source, *pipe);
          written ? pipe->finish() : pipe->fail(std::move(written).error());
        }) {}
  Sender(const Sender&) = delete;
  ~Sender() {
    pipe_->close_reader();
    thread_.join();
  }
  Result<size_t> read(std::span<char> into) { return pipe_->read(into); }

 private:
  std::shared_ptr<BytePipe> pipe_;
  std::thread thread_;
};

// ---- the request

// "K=V", or "K" for the value that we have ourselves.
json::object arguments_object(const std::vector<std::string>& list) {
  json::object out;
  for (const std::string& text : list) {
    size_t equals = text.find('=');
    const char* own = equals == text.npos ? ::getenv(text.c_str()) : nullptr;
    if (equals != text.npos)
      out[text.substr(0, equals)] = text.substr(equals + 1);
    else if (own != nullptr)
      out[text] = own;
  }
  return out;
}

std::vector<std::pair<std::string, std::string>> fields_of(const std::string& text) {
  std::vector<std::pair<std::string, std::string>> out;
  for (size_t at = 0; at <= text.size();) {
    size_t end = std::min(text.find(',', at), text.size());
    std::string field = text.substr(at, end - at);
    at = end + 1;
    size_t equals = field.find('=');
    out.emplace_back(field.substr(0, equals),
                     equals == field.npos ? "" : field.substr(equals + 1));
  }
  return out;
}

// id=NAME[,src=FILE][,env=VARIABLE]: base64 by id.
Result<json::object> read_secrets(const std::vector<std::string>& list) {
  json::object out;
  for (const std::string& text : list) {
    std::string id, file, variable, type;
    for (const auto& [name, value] : fields_of(text)) {
      if (name == "id")
        id = value;
      else if (name == "src" || name == "source")
        file = value;
      else if (name == "env")
        variable = value;
      else if (name == "type")
        type = value;
      else
        return invalid("--secret {}: unexpected key '{}'", text, name);
    }
    if (!type.empty() && type != "file" && type != "env")
      return invalid("--secret {}: unsupported type '{}'", text, type);
    if (id.empty()) return invalid("--secret {}: an id is needed", text);
    if (type == "env" && variable.empty()) variable = file.empty() ? id : file, file.clear();
    std::string contents;
    if (variable.empty() && file.empty()) {
      if (::getenv(id.c_str()) != nullptr)
        variable = id;
      else
        file = id;
    }
    if (!variable.empty()) {
      const char* value = ::getenv(variable.c_str());
      if (value == nullptr) return invalid("--secret {}: {} is not set", text, variable);
      contents = value;
    } else {
      UniqueFd fd = TRY(open_file(file).context("--secret {}", id));
      contents = TRY(sys::read_all(fd.get(), 512u << 10).context("--secret {}", id));
    }
    out[id] = base64_encode(contents);
  }
  return out;
}

Result<Path> build_path(const BuildOptions& options, const Source& source) {
  Path path("/build");
  path.add_if("dockerfile", source.dockerfile).add_if("remote", source.remote);
  for (const std::string& name : options.tag) {
    TRY(check_reference(name).context("invalid argument \"{}\" for \"-t, --tag\" flag", name));
    path.add("t", name);
  }
  path.add_if("target", options.target).add_if("platform", options.platform);
  path.add_if("networkmode", options.network).add_if("cgroupparent", options.cgroup_parent);
  path.add_if("cpusetcpus", options.cpuset_cpus).add_if("cpusetmems", options.cpuset_mems);
  path.flag("pull", options.pull).flag("nocache", options.no_cache).flag("squash", options.squash);
  path.flag("q", options.quiet || options.progress == "quiet");
  auto number = [&](const char* name, int64_t value) {
    if (value != 0) path.add(name, std::to_string(value));
  };
  number("cpushares", options.cpu_shares);
  number("cpuperiod", options.cpu_period);
  number("cpuquota", options.cpu_quota);
  auto size = [&](const char* name, const std::string& text) -> Status {
    if (text.empty()) return {};
    number(name, text == "-1" ? -1 : TRY(parse_ram_size(text).context("--{}", name)));
    return {};
  };
  TRY(size("memory", options.memory));
  TRY(size("memswap", options.memory_swap));
  TRY(size("shmsize", options.shm_size));
  for (const std::string& host : options.add_host)
    path.add("extrahosts", TRY(parse_add_host(host)));
  if (!options.build_arg.empty())
    path.add("buildargs", json::serialize(arguments_object(options.build_arg)));
  if (!options.label.empty()) path.add("labels", json::serialize(key_values(options.label)));
  if (!options.cache_from.empty()) path.add("cachefrom", json::serialize(json::encode(options.cache_from)));
  if (!options.ulimit.empty()) {
    json::array list;
    for (const std::string& text : options.ulimit) list.push_back(TRY(parse_ulimit(text)));
    path.add("ulimits", json::serialize(list));
  }
  return path;
}

// ---- outputs

struct Output {
  std::string type, destination;
};

Result<std::vector<Output>> outputs_of(const BuildOptions& options) {
  std::vector<Output> out;
  for (const std::string& text : options.output) {
    Output one;
    if (text.find('=') == text.npos) {
      one = text == "-" ? Output{"tar", "-"} : Output{"local", text};
    } else {
      for (const auto& [name, value] : fields_of(text)) {
        if (name == "type")
          one.type = value;
        else if (name == "dest")
          one.destination = value;
        else
          return invalid("--output {}: unexpected key '{}'", text, name);
      }
    }
    if (one.type == "image" && one.destination.empty()) continue;  // what happens anyhow
    if (one.type == "docker" && one.destination.empty()) continue;
    if (one.type != "local" && one.type != "tar" && one.type != "oci" && one.type != "docker")
      return invalid("--output {}: unsupported type '{}' (local, tar, oci, docker or image)", text,
                     one.type);
    if (one.destination.empty() && one.type == "local")
      return invalid("--output {}: dest is needed", text);
    if (one.destination.empty()) one.destination = "-";
    out.push_back(std::move(one));
  }
  return out;
}

Status send_body(http::Response& response, const std::string& destination) {
  return destination == "-" ? copy_body(response, STDOUT_FILENO)
                            : save_body(response, destination);
}

// The image's file system by way of a container that never runs.
Status export_files(Api& api, const std::string& image, const Output& output) {
  json::object body{{"Image", image}, {"Cmd", json::array{"/"}}};
  std::string answer = TRY(api.call("POST", Path("/containers/create"), body));
  json::value created = TRY(json::parse(answer));
  const std::string id = text_of(created, "Id");
  Status written = [&]() -> Status {
    http::Response response = TRY(api.stream("GET", Path::of({"containers", id, "export"})));
    if (output.type == "tar") return send_body(response, output.destination);
    TRY(fs::make_directories(output.destination, 0755));
    UniqueFd root = TRY(sys::open(output.destination, O_RDONLY | O_DIRECTORY));
    UniqueFd scratch = TRY(sys::open(output.destination, O_RDONLY | O_DIRECTORY));
    struct BodySource final : ByteSource {
      explicit BodySource(http::Response& from) : response(from) {}
      Result<size_t> read(std::span<char> into) override { return response.read_some(into); }
      http::Response& response;
    } source(response);
    ExtractOptions how;
    how.set_owner = ::geteuid() == 0;
    return extract_tree(root.get(), "/", scratch.get(), source, how);
  }();
  Path removal = Path::of({"containers", id});
  removal.flag("force", true);
  auto removed = api.call("DELETE", removal);
  if (!written) return written;
  return removed ? Status() : Status(std::move(removed).error());
}

Status write_output(Api& api, const std::string& image, const Output& output,
                    const std::vector<std::string>& names) {
  if (output.type == "local" || output.type == "tar") return export_files(api, image, output);
  Path path("/images/get");
  if (names.empty()) path.add("names", image);
  for (const std::string& name : names) path.add("names", name);
  http::Response response = TRY(api.stream("GET", path));
  return send_body(response, output.destination);
}

// ---- asking without building

Result<int> call_targets(const Source& source) {
  builder::Dockerfile file = TRY(builder::Dockerfile::parse(source.text));
  print_out("{:<24}DESCRIPTION\n", "TARGET");
  for (size_t i = 0; i < file.stages.size(); ++i) {
    std::string name = file.stages[i].from.name;
    if (name.empty()) name = std::to_string(i);
    if (i + 1 == file.stages.size()) name += " (default)";
    print_out("{:<24}\n", name);
  }
  return 0;
}

Result<int> call_outline(const Source& source) {
  builder::Dockerfile file = TRY(builder::Dockerfile::parse(source.text));
  print_out("{:<24}{:<24}DESCRIPTION\n", "BUILD ARG", "VALUE");
  auto show = [](const builder::Instruction& instruction) {
    if (const auto* arg = std::get_if<builder::ArgInstruction>(&instruction.what))
      for (const auto& [name, value] : arg->arguments)
        print_out("{:<24}{:<24}\n", name, value.value_or(""));
  };
  for (const builder::Instruction& instruction : file.global_arguments) show(instruction);
  for (const builder::Stage& stage : file.stages)
    for (const builder::Instruction& instruction : stage.instructions) show(instruction);
  return 0;
}

// ---- the command

Result<int> run_build(Cli& cli, BuildOptions& options, Arguments& arguments) {
  constexpr std::string_view kProgress[] = {"auto", "plain", "quiet", "rawjson"};
  if (std::ranges::find(kProgress, options.progress) == std::end(kProgress))
    return invalid("invalid progress mode {} (auto, plain, quiet or rawjson)", options.progress);
  if (options.check) options.call = "check";
  Source source = TRY(source_of(options, arguments[0]));
  if (!options.call.empty() && options.call != "build") {
    if (source.directory.empty())
      return invalid("--call={} needs a Dockerfile of this machine", options.call);
    if (options.call == "targets") return call_targets(source);
    if (options.call == "outline") return call_outline(source);
    return invalid("invalid call \"{}\" (build, outline or targets)", options.call);
  }
  const std::vector<Output> outputs = TRY(outputs_of(options));
  const Path path = TRY(build_path(options, source));
  const json::object secrets = TRY(read_secrets(options.secret));
  http::Headers headers;
  if (std::string auths = all_registry_auths(cli); !auths.empty())
    headers.add("X-Registry-Config", auths);
  if (!secrets.empty()) {
    const std::string packed = base64_encode(json::serialize(secrets));
    constexpr size_t kMostSecrets = 48u << 10;  // of a request's head
    if (packed.size() > kMostSecrets)
      return invalid("--secret: the secrets of a build may take {} bytes in all", kMostSecrets / 2);
    headers.add("X-Gantry-Build-Secrets", packed);
  }
  Api* api = TRY(cli.api());
  std::unique_ptr<Sender> sender;
  std::unique_ptr<StandardInput> input;
  Api::Upload upload;
  upload.content_type = "application/x-tar";
  upload.headers = std::move(headers);
  if (source.standard_input) {
    input = TRY(StandardInput::open());
    upload.body = [&](std::span<char> into) { return input->read(into); };
  } else if (source.remote.empty()) {
    sender = std::make_unique<Sender>(source);
    upload.body = [&](std::span<char> into) { return sender->read(into); };
  } else {
    upload.body = [](std::span<char>) -> Result<size_t> { return size_t{0}; };
  }
  http::Response response = TRY(api->upload("POST", path, std::move(upload)));
  // The image's id, or what a command ended with.
  std::string id;
  int64_t code = 0;
  const bool raw = options.progress == "rawjson";
  const bool silent = raw || options.quiet || options.progress == "quiet";
  Status shown = show_messages(
      response, STDOUT_FILENO, silent ? Progress::silent : Progress::shown,
      [&](const json::value& message) {
        if (raw) print_out("{}\n", json::serialize(message));
        if (std::string found = text_of(object_of(message, "aux"), "ID"); !found.empty())
          id = found;
        code = number_of(object_of(message, "errorDetail"), "code");
      });
  if (!shown && code > 0 && code < 256) {
    print_error(shown.error().message());
    return static_cast<int>(code);
  }
  TRY(std::move(shown));
  if (id.empty()) return internal("the daemon did not tell the image's id");
  if (options.quiet || options.progress == "quiet") print_out("{}\n", id);
  if (!options.iidfile.empty()) TRY(fs::write_file(options.iidfile, id, 0644));
  if (!options.metadata_file.empty()) {
    json::object metadata{{"containerimage.config.digest", id}};
    if (!options.tag.empty()) metadata["image.name"] = options.tag.front();
    TRY(fs::write_file(options.metadata_file, json::pretty(metadata) + "\n", 0644));
  }
  for (const Output& output : outputs) TRY(write_output(*api, id, output, options.tag));
  return 0;
}

Result<int> run_prune(Cli& cli, BuilderPruneOptions& options, Arguments&) {
  Path path("/build/prune");
  const std::string filters = TRY(filters_parameter(options.filter));
  path.add_if("filters", filters).flag("all", options.all);
  if (!options.keep_storage.empty())
    path.add("keep-storage", std::to_string(TRY(parse_ram_size(options.keep_storage))));
  if (!options.force) {
    bool yes = TRY(confirm(options.all ? "WARNING! This will remove all build cache. Are you sure "
                                         "you want to continue?"
                                       : "WARNING! This will remove all dangling build cache. Are "
                                         "you sure you want to continue?"));
    if (!yes) return invalid("builder prune has been cancelled");
  }
  Api* api = TRY(cli.api());
  std::string body = TRY(api->call("POST", path));
  json::value answer = TRY(json::parse(body));
  if (const json::array& deleted = array_of(answer, "CachesDeleted"); !deleted.empty()) {
    print_out("Deleted build cache objects:\n");
    for (const json::value& item : deleted)
      if (item.is_string()) print_out("{}\n", std::string_view(item.get_string()));
    print_out("\n");
  }
  print_out("Total reclaimed space: {}\n",
            human_size(static_cast<double>(number_of(answer, "SpaceReclaimed"))));
  return 0;
}

}  // namespace

std::span<const Command> build_commands() {
  static const Command commands[] = {
      command<BuildOptions, run_build>({.name = "build",
                                        .use = "[OPTIONS] PATH | URL | -",
                                        .summary = "Build an image from a Dockerfile",
                                        .arity = exactly(1),
                                        .flags = kBuildGroups,
                                        .section = HelpSection::common}),
  };
  return commands;
}

std::span<const Command> builder_commands() {
  static const Command commands[] = {
      command<BuilderPruneOptions, run_prune>({.name = "prune",
                                               .use = "[OPTIONS]",
                                               .summary = "Remove build cache",
                                               .arity = exactly(0),
                                               .flags = kPruneGroups}),
  };
  return commands;
}

}  // namespace gantry::client
