// Any bytes as a layer: the index that is made of it is one that the kernel can rely on, and it
// says of the members what the archive says of them.
#include <fcntl.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "base/fs.h"
#include "base/sys.h"
#include "drivers/graph/erofs_layer.h"
#include "drivers/graph/erofs_walk.h"
#include "drivers/graph/member.h"

namespace {

using namespace gantry;
using namespace gantry::drivers;

void require(bool condition) {
  if (!condition) std::abort();
}

// The archive's members by path, while each path is there once and nothing leads through a link.
// What is below a path that is no directory makes it not plain.
struct Plain {
  bool plain = true;
  std::map<std::string, std::pair<tar::Entry, uint64_t>> members;  // with the payload's place
};

Plain read_plain(std::string_view bytes) {
  Plain out;
  MemorySource source(bytes);
  tar::Reader reader(source);
  for (;;) {
    Result<std::optional<tar::Entry>> entry = reader.next();
    if (!entry || !*entry) break;
    Result<Member> member = classify(**entry);
    if (!member || member->what != Member::What::file || (*entry)->type == tar::Type::hardlink) {
      out.plain = false;
      break;
    }
    uint64_t at = reader.position();
    out.plain &= out.members.try_emplace(member->path, std::move(**entry), at).second;
  }
  for (const auto& [path, member] : out.members)
    for (size_t slash = path.find('/'); slash != std::string::npos;
         slash = path.find('/', slash + 1))
      if (auto above = out.members.find(path.substr(0, slash));
          above != out.members.end() && above->second.first.type != tar::Type::directory)
        out.plain = false;
  return out;
}

void compare(const Plain& plain, const std::map<std::string, WalkedInode>& tree) {
  for (const auto& [path, member] : plain.members) {
    const auto& [entry, at] = member;
    auto found = tree.find(path);
    require(found != tree.end());
    const erofs::InodeExtended& disk = found->second.disk;
    require(disk.uid == entry.uid && disk.gid == entry.gid);
    require(disk.mtime == entry.mtime.tv_sec);
    if (entry.type != tar::Type::symlink) require((disk.mode & 07777u) == entry.mode);
    if (entry.type == tar::Type::symlink) require(found->second.link == entry.link);
    if (entry.type != tar::Type::regular) continue;
    require(S_ISREG(disk.mode) && disk.size == entry.size);
    if (entry.size > 0 && !entry.extents)
      require(found->second.chunks.at(0).device == 1 &&
              found->second.chunks.at(0).block * uint64_t{512} == at);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view bytes(reinterpret_cast<const char*>(data), size);
  char name[] = "/tmp/gantry-erofs-fuzz-XXXXXX";
  require(::mkdtemp(name) != nullptr);
  {
    UniqueFd directory = sys::open(name, O_RDONLY | O_DIRECTORY).release();
    MemorySource source(bytes);
    Result<uint64_t> ingested = ingest_archive(directory.get(), source);
    if (ingested) {
      UniqueFd index = sys::openat(directory.get(), "index", O_RDWR | O_CREAT, 0600).release();
      if (make_index(directory.get(), "id", {}, index.get())) {
        std::string text = fs::read_file_at(directory.get(), "index").release();
        uint64_t side = 0;
        if (Result<struct stat> st = sys::fstatat(directory.get(), kSideName); st)
          side = static_cast<uint64_t>(st->st_size);
        Result<std::map<std::string, WalkedInode>> tree = ErofsWalk(text, size, side).run();
        require(tree.has_value());
        Plain plain = read_plain(bytes);
        if (plain.plain) compare(plain, *tree);
      }
    }
  }
  require(fs::remove_tree(name).has_value());
  return 0;
}
