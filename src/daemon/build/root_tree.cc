#include "daemon/build/root_tree.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include <algorithm>
#include <cstring>

#include "base/id.h"
#include "base/sys.h"
#include "base/tree_walk.h"
#include "builder/copy.h"
#include "drivers/graph/graph_driver.h"
#include "drivers/graph/rootfs_mount.h"

namespace gantry::daemon {
namespace {

// What resolve() gives has no links: one that is there by now is not followed.
constexpr uint64_t kNoLinks = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;

std::string relative(const std::string& path) { return path.empty() ? "." : path; }

Status read_xattrs(int fd, tar::Entry& entry) {
  std::vector<char> names(64u << 10), value(64u << 10);  // XATTR_LIST_MAX, XATTR_SIZE_MAX
  ssize_t size = ::flistxattr(fd, names.data(), names.size());
  if (size == -1) return errno == EOPNOTSUPP ? Status() : errno_error(errno, "flistxattr");
  for (const char* name = names.data(); name < names.data() + size;
       name += std::strlen(name) + 1) {
    if (std::string_view(name).starts_with("trusted.overlay.")) continue;
    ssize_t length = ::fgetxattr(fd, name, value.data(), value.size());
    if (length >= 0)
      entry.xattrs.emplace_back(name, std::string(value.data(), static_cast<size_t>(length)));
  }
  return {};
}

}  // namespace

Result<std::unique_ptr<RootTree>> RootTree::mount(engine::JobContext& job,
                                                  drivers::GraphDriver& driver,
                                                  const Digest& chain) {
  const std::string id = new_id();
  TRY(job.take({{std::string(drivers::kContainerKind), id, "", ""}}));
  RootfsSource source =
      TRY(driver.create_container({id, chain, drivers::ContainerLifetime::ephemeral, 0}));
  UniqueFd root = TRY(drivers::mount_rootfs(source, drivers::RootfsAccess::read));
  return std::make_unique<RootTree>(std::move(root));
}

Result<std::optional<tar::Entry>> RootTree::stat(const std::string& path) {
  Result<UniqueFd> found =
      sys::openat2(root_.fd(), relative(path), O_PATH | O_NOFOLLOW,
                   RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS, 0);
  if (!found && (found.error().code() == ENOENT || found.error().code() == ENOTDIR))
    return std::optional<tar::Entry>();
  if (!found) return std::move(found).error();
  struct stat st = TRY(sys::fstat(found->get()));
  tar::Entry entry;
  entry.path = path;
  entry.mode = st.st_mode & 07777;
  entry.uid = st.st_uid;
  entry.gid = st.st_gid;
  entry.mtime = {st.st_mtim.tv_sec, st.st_mtim.tv_nsec};
  switch (st.st_mode & S_IFMT) {
    case S_IFDIR:
      entry.type = tar::Type::directory;
      break;
    case S_IFLNK:
      entry.type = tar::Type::symlink;
      entry.link = TRY(sys::readlinkat(found->get(), ""));
      break;
    case S_IFCHR:
    case S_IFBLK:
      entry.type = S_ISCHR(st.st_mode) ? tar::Type::char_device : tar::Type::block_device;
      entry.major = major(st.st_rdev);
      entry.minor = minor(st.st_rdev);
      break;
    case S_IFIFO:
      entry.type = tar::Type::fifo;
      break;
    case S_IFREG: {
      entry.size = static_cast<uint64_t>(st.st_size);
      Result<UniqueFd> file =
          sys::openat2(root_.fd(), path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY,
                       RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS, 0);
      if (file) TRY(read_xattrs(file->get(), entry));
      break;
    }
    default:  // a socket is nothing that a layer holds
      return std::optional<tar::Entry>();
  }
  return std::optional<tar::Entry>(std::move(entry));
}

Result<std::vector<std::string>> RootTree::list(const std::string& path) {
  UniqueFd directory =
      TRY(sys::openat2(root_.fd(), relative(path), O_RDONLY | O_DIRECTORY, kNoLinks, 0));
  std::vector<std::string> names = TRY(fs::list_directory(directory.get()));
  std::sort(names.begin(), names.end());
  return names;
}

Result<std::unique_ptr<ByteSource>> RootTree::open(const std::string& path) {
  UniqueFd file = TRY(
      sys::openat2(root_.fd(), path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, kNoLinks, 0));
  struct stat st = TRY(sys::fstat(file.get()));
  if (!S_ISREG(st.st_mode)) return invalid("{}: not a file", path);
  return std::unique_ptr<ByteSource>(std::make_unique<FdSource>(std::move(file)));
}

Result<Digest> RootTree::digest(const std::string& path) {
  std::unique_ptr<ByteSource> source = TRY(open(path));
  Sha256 hash;
  std::vector<char> buffer(64u << 10);
  for (;;) {
    size_t got = TRY(source->read(buffer));
    if (got == 0) return hash.finish();
    hash.update({buffer.data(), got});
  }
}

Status write_archive(builder::Tree& tree, const std::string& path, const std::string& name,
                     ByteSink& out) {
  builder::CopySpec spec;
  spec.instruction = "mount";
  spec.sources = {path};
  spec.destination = name;
  spec.from_context = false;
  std::vector<builder::CopyTop> tops = TRY(builder::find_copies(tree, spec));
  builder::CopyTarget target;
  target.stat = [](const std::string&) -> Result<std::optional<tar::Entry>> {
    return std::optional<tar::Entry>();
  };
  target.latest = std::numeric_limits<int32_t>::max();
  builder::CopyWriter writer(out, std::move(target));
  TRY(writer.copies(tree, spec, tops));
  return writer.finish();
}

}  // namespace gantry::daemon
