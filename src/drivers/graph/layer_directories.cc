#include "drivers/graph/layer_directories.h"

#include <fcntl.h>

#include <algorithm>

#include "base/failpoint.h"
#include "base/fs.h"
#include "base/id.h"
#include "base/sys.h"
#include "drivers/graph/layer_tree.h"
#include "drivers/graph/project_quota.h"
#include "drivers/graph/tar_split.h"

namespace gantry::drivers {
namespace {

Result<UniqueFd> make_and_open(int parent, const std::string& name, mode_t mode) {
  if (::mkdirat(parent, name.c_str(), mode) == -1 && errno != EEXIST)
    return errno_error(errno, "mkdir {}", name);
  return sys::openat(parent, name, kOpenDirectory);
}

bool present(int directory, const std::string& name) {
  return ::faccessat(directory, name.c_str(), F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

}  // namespace

const std::vector<InitEntry> kInitEntries = {
    {"dev", S_IFDIR | 0755, nullptr},
    {"dev/pts", S_IFDIR | 0755, nullptr},
    {"dev/shm", S_IFDIR | 0755, nullptr},
    {"dev/console", S_IFREG | 0755, nullptr},
    {"proc", S_IFDIR | 0755, nullptr},
    {"sys", S_IFDIR | 0755, nullptr},
    {"etc", S_IFDIR | 0755, nullptr},
    {"etc/hosts", S_IFREG | 0755, nullptr},
    {"etc/hostname", S_IFREG | 0755, nullptr},
    {"etc/resolv.conf", S_IFREG | 0755, nullptr},
    {"etc/mtab", S_IFLNK | 0777, "/proc/mounts"},
    {".dockerenv", S_IFREG | 0755, nullptr},
};

Status init_tree(int root) {
  for (const InitEntry& entry : kInitEntries) {
    std::string path = entry.path;
    size_t slash = path.rfind('/');
    std::string name = path.substr(slash == std::string::npos ? 0 : slash + 1);
    // The tree may be a copy of an image: nothing on the way is followed, what is in the way stays.
    Result<UniqueFd> parent =
        slash == std::string::npos
            ? sys::openat(root, ".", kOpenDirectory)
            : sys::openat2(root, path.substr(0, slash), kOpenDirectory,
                           RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS);
    if (!parent || present(parent->get(), name)) continue;
    Result<struct stat> before = sys::fstat(parent->get());
    if (!before) return std::move(before).error();
    if (S_ISDIR(entry.mode)) {
      TRY(sys::mkdirat(parent->get(), name, entry.mode & 07777));
    } else if (S_ISLNK(entry.mode)) {
      TRY(sys::symlinkat(entry.link, parent->get(), name));
    } else {
      TRY(sys::openat(parent->get(), name, O_WRONLY | O_CREAT | O_EXCL, entry.mode & 07777));
    }
    if (!S_ISLNK(entry.mode)) TRY(sys::fchmodat(parent->get(), name, entry.mode & 07777));
    const timespec times[2] = {before->st_atim, before->st_mtim};  // no change of the image's own
    if (::futimens(parent->get(), times) == -1) return errno_error(errno, "futimens {}", path);
  }
  return {};
}

Status check_name(const std::string& name) {
  bool plain =
      !name.empty() && name.size() <= 128 && std::all_of(name.begin(), name.end(), [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
               c == '_' || c == '-';
      });
  if (!plain) return internal("\"{}\" cannot name a directory", name);
  return {};
}

std::string new_layer_directory() {
  constexpr std::string_view kDigits = "abcdefghijklmnopqrstuvwxyz234567";
  std::string name;
  std::string random = random_hex(13);
  for (size_t i = 0; i < 13; ++i) {
    int byte = std::stoi(random.substr(2 * i, 2), nullptr, 16);
    name += kDigits[static_cast<size_t>(byte) % kDigits.size()];
  }
  return name;
}

Result<std::unique_ptr<LayerDirectories>> LayerDirectories::open(const std::string& data_root,
                                                                 const std::string& driver,
                                                                 std::vector<std::string> parts) {
  std::string path = data_root + "/" + driver;
  TRY(fs::make_directories(path, 0700));
  std::unique_ptr<LayerDirectories> out(new LayerDirectories(path, driver, std::move(parts)));
  out->root_ = TRY(sys::open(path, kOpenDirectory));
  out->layers_ = TRY(make_and_open(out->fd(), "layers", 0700));
  out->containers_ = TRY(make_and_open(out->fd(), "containers", 0700));
  TRY(fs::make_directories(data_root + "/trash", 0700));
  out->trash_ = TRY(sys::open(data_root + "/trash", kOpenDirectory));
  UniqueFd init = TRY(make_and_open(out->fd(), "init", 0755));
  TRY(sys::fchmod(init.get(), 0755));
  TRY(init_tree(init.get()));
  return out;
}

LayerRecord record_of(const PublishSpec& spec, const LayerRecord* parent) {
  LayerRecord record;
  record.chain_id = spec.chain_id.text();
  record.parent = spec.parent.text();
  record.diff_id = spec.diff_id.text();
  record.directory = spec.directory;
  record.stack = {spec.directory};
  if (parent) record.stack.insert(record.stack.end(), parent->stack.begin(), parent->stack.end());
  return record;
}

Result<UniqueFd> LayerDirectories::make_empty(const std::string& directory) const {
  TRY(check_name(directory));
  TRY(failpoint("layer.directory"));
  TRY(sys::mkdirat(fd(), directory, 0700));
  TRY(failpoint("layer.directory.made"));
  return sys::openat(fd(), directory, kOpenDirectory);
}

Result<LayerDirectories::Fresh> LayerDirectories::make(const std::string& directory) const {
  Fresh fresh;
  fresh.directory = TRY(make_empty(directory));
  fresh.diff = TRY(make_and_open(fresh.directory.get(), "diff", 0755));
  fresh.kept = TRY(make_and_open(fresh.directory.get(), "kept", 0700));
  return fresh;
}

Result<LayerDirectories::Fresh> LayerDirectories::reopen(const std::string& directory) const {
  TRY(check_name(directory));
  Fresh fresh;
  fresh.directory = TRY(sys::openat(fd(), directory, kOpenDirectory));
  fresh.diff = TRY(sys::openat(fresh.directory.get(), "diff", kOpenDirectory));
  fresh.kept = TRY(sys::openat(fresh.directory.get(), "kept", kOpenDirectory));
  return fresh;
}

Status LayerDirectories::publish(int directory, const LayerRecord& record) {
  TRY(fs::replace_file_at(directory, "layer.json", json::dump(record)));
  TRY(failpoint("layer.publish"));
  std::string hex = TRY(Digest::parse(record.chain_id)).hex();
  std::string temporary = fmt::format(".{}", record.directory);
  TRY(sys::symlinkat("../" + record.directory, layers_.get(), temporary));
  TRY(failpoint("layer.rename"));
  TRY(sys::renameat(layers_.get(), temporary, layers_.get(), hex));
  TRY(failpoint("layer.published"));
  std::lock_guard lock(mutex_);
  records_[record.directory] = std::make_shared<const LayerRecord>(record);
  return {};
}

Result<std::shared_ptr<const LayerRecord>> LayerDirectories::find(const Digest& chain_id) {
  Result<std::string> link = sys::readlinkat(layers_.get(), chain_id.hex());
  if (!link) {
    if (link.error().code() == ENOENT) return not_found("layer {} is not here", chain_id.text());
    return std::move(link).error();
  }
  if (!link->starts_with("../")) return internal("layer {}: odd link {}", chain_id.text(), *link);
  return by_directory(link->substr(3));
}

Result<std::shared_ptr<const LayerRecord>> LayerDirectories::by_directory(const std::string& name) {
  TRY(check_name(name));
  {
    std::lock_guard lock(mutex_);
    auto known = records_.find(name);
    if (known != records_.end()) return known->second;
  }
  std::string text = TRY(fs::read_file_at(fd(), name + "/layer.json"));
  LayerRecord record = TRY(json::parse<LayerRecord>(text).context("layer {}", name));
  auto shared = std::make_shared<const LayerRecord>(std::move(record));
  std::lock_guard lock(mutex_);
  records_[name] = shared;
  return shared;
}

Result<std::vector<std::shared_ptr<const LayerRecord>>> LayerDirectories::published() {
  std::vector<std::shared_ptr<const LayerRecord>> out;
  std::vector<std::string> links = TRY(fs::list_directory(layers_.get()));
  for (const std::string& link : links) {
    if (link.starts_with('.')) continue;
    Result<std::string> target = sys::readlinkat(layers_.get(), link);
    if (!target || !target->starts_with("../")) continue;
    Result<std::shared_ptr<const LayerRecord>> record = by_directory(target->substr(3));
    if (record) out.push_back(record.release());
  }
  return out;
}

Result<bool> LayerDirectories::complete(const Digest& chain_id) {
  Result<std::shared_ptr<const LayerRecord>> record = find(chain_id);
  if (!record) {
    // Whatever cannot be read of it (layer.json is in the layer's own directory) is not there.
    if (record.error().kind() == ErrorKind::not_found ||
        record.error().kind() == ErrorKind::invalid)
      return false;
    return std::move(record).error();
  }
  for (const std::string& part : parts_)
    if (!present(fd(), (*record)->directory + "/" + part)) return false;
  return std::all_of((*record)->stack.begin(), (*record)->stack.end(),
                     [&](const std::string& name) { return present(fd(), name); });
}

Result<UniqueFd> LayerDirectories::open_below(const std::string& relative) const {
  return sys::openat(fd(), relative, kOpenDirectory);
}

Result<std::unique_ptr<ByteSource>> LayerDirectories::read_archive(
    const LayerRecord& record) const {
  UniqueFd directory = TRY(open_below(record.directory));
  UniqueFd archive = TRY(sys::openat(directory.get(), "archive", O_RDONLY));
  UniqueFd diff = TRY(sys::openat(directory.get(), "diff", kOpenDirectory));
  Result<UniqueFd> kept = sys::openat(directory.get(), "kept", kOpenDirectory);
  UniqueFd scratch = kept ? kept.release() : TRY(sys::dup(directory.get()));
  return read_split(std::move(archive), std::move(diff), std::move(scratch));
}

Status LayerDirectories::remove(const std::string& directory) {
  TRY(check_name(directory));
  std::string chain;
  if (Result<std::shared_ptr<const LayerRecord>> record = by_directory(directory); record)
    chain = TRY(Digest::parse((*record)->chain_id)).hex();
  {
    std::lock_guard lock(mutex_);
    records_.erase(directory);
  }
  if (!chain.empty()) {
    Result<std::string> link = sys::readlinkat(layers_.get(), chain);
    if (link && *link == "../" + directory) TRY(sys::unlinkat(layers_.get(), chain));
  }
  (void)::unlinkat(layers_.get(), ("." + directory).c_str(), 0);
  TRY(failpoint("layer.discard"));
  Status moved = sys::renameat(fd(), directory, trash_.get(), trash_name(directory));
  if (!moved && moved.error().code() == ENOENT) return {};
  return moved;
}

Status LayerDirectories::remove_container(const std::string& id) const {
  TRY(check_name(id));
  TRY(failpoint("layer.container.discard"));
  if (Result<UniqueFd> directory = sys::openat(containers_.get(), id, kOpenDirectory); directory)
    TRY(unlimit_tree(directory->get()));
  Status moved = sys::renameat(containers_.get(), id, trash_.get(), trash_name(id));
  if (!moved && moved.error().code() == ENOENT) return {};
  return moved;
}

bool LayerDirectories::layer_exists(const std::string& directory) const {
  return present(fd(), directory) || present(trash_.get(), trash_name(directory));
}

bool LayerDirectories::container_exists(const std::string& id) const {
  return present(containers_.get(), id) || present(trash_.get(), trash_name(id));
}

Result<std::vector<std::string>> LayerDirectories::all_layers() const {
  std::vector<std::string> names = TRY(fs::list_directory(fd()));
  std::erase_if(names, [](const std::string& name) {
    return name == "layers" || name == "containers" || name == "init";
  });
  return names;
}

Result<std::vector<std::string>> LayerDirectories::all_containers() const {
  return fs::list_directory(containers_.get());
}

Status LayerDirectories::empty_trash(const std::string& name) const {
  TRY(failpoint("layer.trash"));
  return fs::remove_tree(trash_.get(), trash_name(name));
}

}  // namespace gantry::drivers
