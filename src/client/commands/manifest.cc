// gantry manifest: lists of manifests, put together here and pushed to a registry.
#include "client/commands/commands.h"
#include "client/format/json_text.h"
#include "client/manifest/manifest_registry.h"

namespace gantry::client {
namespace {

struct ManifestCreateOptions {
  bool amend = false, insecure = false;
};
constexpr Flag kCreateFlags[] = {
    flag<&ManifestCreateOptions::amend>("amend", 'a', "Amend an existing manifest list"),
    flag<&ManifestCreateOptions::insecure>("insecure", 0,
                                           "Allow communication with an insecure registry"),
};
const FlagGroup kCreateGroups[] = {own_flags(kCreateFlags)};

struct ManifestAnnotateOptions {
  std::string arch, os, os_version, variant;
  std::vector<std::string> os_features;
};
// "a,b" is two.
Status set_strings(void* member, std::string_view text) {
  auto& out = *static_cast<std::vector<std::string>*>(member);
  for (size_t at = 0; at <= text.size();) {
    size_t end = std::min(text.find(',', at), text.size());
    if (end > at) out.emplace_back(text.substr(at, end - at));
    at = end + 1;
  }
  return {};
}
constexpr Flag kAnnotateFlags[] = {
    flag<&ManifestAnnotateOptions::arch>("arch", 0, "Set architecture"),
    flag<&ManifestAnnotateOptions::os>("os", 0, "Set operating system"),
    flag<&ManifestAnnotateOptions::os_features>("os-features", 0, "Set operating system feature",
                                                {.type = "strings", .set = set_strings}),
    flag<&ManifestAnnotateOptions::os_version>("os-version", 0, "Set operating system version"),
    flag<&ManifestAnnotateOptions::variant>("variant", 0, "Set architecture variant"),
};
const FlagGroup kAnnotateGroups[] = {own_flags(kAnnotateFlags)};

struct ManifestInspectOptions {
  bool insecure = false, verbose = false;
};
constexpr Flag kInspectFlags[] = {
    flag<&ManifestInspectOptions::insecure>("insecure", 0,
                                            "Allow communication with an insecure registry"),
    flag<&ManifestInspectOptions::verbose>("verbose", 'v',
                                           "Output additional info including layers and platform"),
};
const FlagGroup kInspectGroups[] = {own_flags(kInspectFlags)};

struct ManifestPushOptions {
  bool insecure = false, purge = false;
};
constexpr Flag kPushFlags[] = {
    flag<&ManifestPushOptions::insecure>("insecure", 0, "Allow push to an insecure registry"),
    flag<&ManifestPushOptions::purge>("purge", 'p', "Remove the local manifest list after push"),
};
const FlagGroup kPushGroups[] = {own_flags(kPushFlags)};

struct ManifestRemoveOptions {};

// What Docker's client takes for a platform of an entry.
constexpr std::string_view kPlatforms[] = {
    "darwin/386",    "darwin/amd64",  "darwin/arm",    "darwin/arm64",   "dragonfly/amd64",
    "freebsd/386",   "freebsd/amd64", "freebsd/arm",   "linux/386",      "linux/amd64",
    "linux/arm",     "linux/arm64",   "linux/mips64",  "linux/mips64le", "linux/ppc64le",
    "linux/riscv64", "linux/s390x",   "netbsd/386",    "netbsd/amd64",   "netbsd/arm",
    "openbsd/386",   "openbsd/amd64", "openbsd/arm",   "plan9/386",      "plan9/amd64",
    "solaris/amd64", "windows/386",   "windows/amd64",
};

Result<image::Reference> parse_name(const std::string& text) {
  image::Reference name = TRY(image::Reference::parse(text));
  return name.with_default_tag();
}

ManifestStore store_of(Cli& cli) { return ManifestStore(cli.config_directory()); }
Insecure insecure_if(bool yes) { return yes ? Insecure::yes : Insecure::no; }

Result<int> run_create(Cli& cli, ManifestCreateOptions& options, Arguments& arguments) {
  image::Reference list = TRY(
      parse_name(arguments[0]).context("error parsing name for manifest list {}", arguments[0]));
  ManifestStore store = store_of(cli);
  Result<std::vector<LocalManifest>> before = store.list(list);
  if (!before && before.error().kind() != ErrorKind::not_found) return std::move(before).error();
  if (before && !options.amend)
    return conflict("refusing to amend an existing manifest list with no --amend flag");
  for (size_t i = 1; i < arguments.size(); ++i) {
    image::Reference name = TRY(parse_name(arguments[i]));
    Result<LocalManifest> found = store.get(list, name);
    if (!found && found.error().kind() != ErrorKind::not_found) return std::move(found).error();
    if (!found || found->raw.empty()) {
      auto registry =
          TRY(ManifestRegistry::open(cli, name.domain(), insecure_if(options.insecure)));
      found = registry->manifest(name);
    }
    if (!found) return std::move(found).error();
    TRY(store.save(list, name, *found));
  }
  print_out("Created manifest list {}\n", list.text());
  return 0;
}

Result<int> run_annotate(Cli& cli, ManifestAnnotateOptions& options, Arguments& arguments) {
  image::Reference list =
      TRY(parse_name(arguments[0])
              .context("annotate: error parsing name for manifest list {}", arguments[0]));
  image::Reference name =
      TRY(parse_name(arguments[1])
              .context("annotate: error parsing name for manifest {}", arguments[1]));
  ManifestStore store = store_of(cli);
  Result<LocalManifest> found = store.get(list, name);
  if (!found && found.error().kind() == ErrorKind::not_found)
    return not_found("manifest for image {} does not exist in {}", arguments[1], arguments[0]);
  LocalManifest manifest = TRY(std::move(found));
  if (!manifest.descriptor.platform) manifest.descriptor.platform.emplace();
  ManifestPlatform& platform = *manifest.descriptor.platform;
  if (!options.os.empty()) platform.os = options.os;
  if (!options.arch.empty()) platform.architecture = options.arch;
  if (!options.variant.empty()) platform.variant = options.variant;
  if (!options.os_version.empty()) platform.os_version = options.os_version;
  for (const std::string& feature : options.os_features)
    if (std::find(platform.os_features.begin(), platform.os_features.end(), feature) ==
        platform.os_features.end())
      platform.os_features.push_back(feature);
  const std::string pair = platform.os + "/" + platform.architecture;
  if (std::find(std::begin(kPlatforms), std::end(kPlatforms), pair) == std::end(kPlatforms))
    return invalid("manifest entry for image has unsupported os/arch combination: {}/{}",
                   options.os, options.arch);
  TRY(store.save(list, name, manifest));
  return 0;
}

enum class Verbose { no, yes };

// What is printed of one manifest. Docker's client keeps a document and prints that; what comes
// from a registry is printed as it came.
enum class From { store, registry };
Result<std::string> shown(const LocalManifest& one, From from, Verbose verbose) {
  if (verbose == Verbose::yes) return indent_json(go_json(json::encode(one)), "\t");
  if (from == From::registry) return indent_json(TRY(one.payload()), "\t");
  const std::optional<json::object>& document =
      one.docker_manifest ? one.docker_manifest : one.oci_manifest;
  if (!document) return invalid("{} has no payload", one.ref);
  return indent_json(go_json(*document), "\t");
}

Result<std::string> shown(const image::Reference& list, const std::vector<LocalManifest>& manifests,
                          Verbose verbose) {
  if (verbose == Verbose::yes) return indent_json(go_json(json::encode(manifests)), "\t");
  image::RemoteManifest document =
      TRY(manifest_list(list, manifests).context("failed to assemble ManifestDescriptor"));
  return document.bytes;
}

Result<int> run_inspect(Cli& cli, ManifestInspectOptions& options, Arguments& arguments) {
  image::Reference name = TRY(parse_name(arguments.back()));
  const Verbose verbose = options.verbose ? Verbose::yes : Verbose::no;
  ManifestStore store = store_of(cli);
  if (arguments.size() == 2) {
    image::Reference list = TRY(parse_name(arguments[0]));
    LocalManifest one = TRY(store.get(list, name));
    print_out("{}\n", TRY(shown(one, From::store, verbose)));
    return 0;
  }
  Result<std::vector<LocalManifest>> local = store.list(name);
  if (local) {
    print_out("{}\n", TRY(shown(name, *local, verbose)));
    return 0;
  }
  if (local.error().kind() != ErrorKind::not_found) return std::move(local).error();
  auto registry = TRY(ManifestRegistry::open(cli, name.domain(), insecure_if(options.insecure)));
  ManifestRegistry::Found found = TRY(registry->find(name));
  print_out("{}\n", found.index ? TRY(shown(name, found.manifests, verbose))
                                : TRY(shown(found.manifests.front(), From::registry, verbose)));
  return 0;
}

Result<int> run_push(Cli& cli, ManifestPushOptions& options, Arguments& arguments) {
  image::Reference list = TRY(parse_name(arguments[0]));
  ManifestStore store = store_of(cli);
  std::vector<LocalManifest> manifests = TRY(store.list(list));
  for (const LocalManifest& one : manifests) {
    const std::optional<ManifestPlatform>& platform = one.descriptor.platform;
    if (!platform || platform->architecture.empty() || platform->os.empty())
      return invalid("manifest {} must have an OS and Architecture to be pushed to a registry",
                     one.ref);
  }
  auto registry = TRY(ManifestRegistry::open(cli, list.domain(), insecure_if(options.insecure)));
  std::string digest =
      TRY(registry->push(list, manifests, [](const image::Reference& ref, const std::string& of) {
        print_out("Pushed ref {} with digest: {}\n", ref.text(), of);
      }));
  print_out("{}\n", digest);
  if (options.purge) TRY(store.remove(list));
  return 0;
}

Result<int> run_remove(Cli& cli, ManifestRemoveOptions&, Arguments& arguments) {
  ManifestStore store = store_of(cli);
  return for_each_name(arguments, EchoNames::no, [&](const std::string& text) -> Status {
    image::Reference list = TRY(parse_name(text));
    TRY(store.list(list));
    return store.remove(list);
  });
}

}  // namespace

std::span<const Command> manifest_commands() {
  static const Command commands[] = {
      command<ManifestAnnotateOptions, run_annotate>(
          {.name = "annotate",
           .use = "[OPTIONS] MANIFEST_LIST MANIFEST",
           .summary = "Add additional information to a local image manifest",
           .arity = exactly(2),
           .flags = kAnnotateGroups}),
      command<ManifestCreateOptions, run_create>(
          {.name = "create",
           .use = "MANIFEST_LIST MANIFEST [MANIFEST...]",
           .summary = "Create a local manifest list for annotating and pushing to a registry",
           .arity = at_least(2),
           .flags = kCreateGroups}),
      command<ManifestInspectOptions, run_inspect>(
          {.name = "inspect",
           .use = "[OPTIONS] [MANIFEST_LIST] MANIFEST",
           .summary = "Display an image manifest, or manifest list",
           .arity = between(1, 2),
           .flags = kInspectGroups}),
      command<ManifestPushOptions, run_push>({.name = "push",
                                              .use = "[OPTIONS] MANIFEST_LIST",
                                              .summary = "Push a manifest list to a repository",
                                              .arity = exactly(1),
                                              .flags = kPushGroups}),
      command<ManifestRemoveOptions, run_remove>(
          {.name = "rm",
           .use = "MANIFEST_LIST [MANIFEST_LIST...]",
           .summary = "Delete one or more manifest lists from local storage",
           .arity = at_least(1)}),
  };
  return commands;
}

}  // namespace gantry::client
