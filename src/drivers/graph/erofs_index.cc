#include "drivers/graph/erofs_index.h"

#include <sys/stat.h>

#include <algorithm>

#include "base/sys.h"
#include "drivers/graph/erofs_format.h"
#include "drivers/graph/member_log.h"

namespace gantry::drivers {
namespace {

using erofs::kBlock;

constexpr size_t kInlineLink = 400;  // a longer one gets blocks of its own
constexpr size_t kPageOfIndex = 4096;

uint64_t aligned(uint64_t value, uint64_t to) { return (value + to - 1) / to * to; }

uint8_t entry_type(uint32_t mode) {
  switch (mode & S_IFMT) {
    case S_IFREG:
      return 1;
    case S_IFDIR:
      return 2;
    case S_IFCHR:
      return 3;
    case S_IFBLK:
      return 4;
    case S_IFIFO:
      return 5;
    default:
      return 7;  // symbolic link
  }
}

// Bytes at ascending places, in large writes; what is left out is zeros.
class PlacedWriter {
 public:
  explicit PlacedWriter(int fd) : fd_(fd) {}
  Status write(uint64_t at, std::string_view bytes) {
    if (at != start_ + buffer_.size()) {
      if (!buffer_.empty() && at > start_ + buffer_.size() && at - start_ < kFlushAt) {
        buffer_.resize(at - start_);
      } else {
        TRY(flush());
        start_ = at;
      }
    }
    buffer_ += bytes;
    return buffer_.size() < kFlushAt ? Status() : flush();
  }
  Status flush() {
    TRY(sys::pwrite_all(fd_, buffer_, static_cast<off_t>(start_)));
    start_ += buffer_.size();
    buffer_.clear();
    return {};
  }

 private:
  static constexpr size_t kFlushAt = 256 << 10;
  int fd_;
  uint64_t start_ = 0;
  std::string buffer_;
};

// Packs names, which come in byte order, into blocks.
class DirectoryBlocks {
 public:
  // Gets whole blocks but for the last; null: only counted.
  using Sink = std::function<Status(std::string_view block)>;
  explicit DirectoryBlocks(Sink sink) : sink_(std::move(sink)) {}

  Status add(std::string_view name, uint64_t nid, uint8_t type) {
    size_t more = sizeof(erofs::DirectoryEntry) + name.size();
    if (used_ + more > kBlock) TRY(end_block(Last::no));
    used_ += more;
    if (!sink_) return {};
    entries_.push_back({nid, static_cast<uint16_t>(names_.size()), type, 0});
    names_ += name;
    return {};
  }
  Status finish() { return end_block(Last::yes); }
  uint64_t size() const { return size_; }

 private:
  enum class Last { no, yes };
  Status end_block(Last last) {
    size_ += last == Last::yes ? used_ : kBlock;
    used_ = 0;
    if (!sink_) return {};
    size_t head = entries_.size() * sizeof(erofs::DirectoryEntry);
    block_.clear();
    for (erofs::DirectoryEntry& entry : entries_)
      entry.name_offset = static_cast<uint16_t>(entry.name_offset + head);
    block_.append(reinterpret_cast<const char*>(entries_.data()), head);
    block_ += names_;
    if (last == Last::no) block_.resize(kBlock);
    entries_.clear();
    names_.clear();
    return sink_(block_);
  }

  Sink sink_;
  std::vector<erofs::DirectoryEntry> entries_;
  std::string names_;
  std::string block_;
  size_t used_ = 0;
  uint64_t size_ = 0;
};

class IndexWriter {
 public:
  IndexWriter(ErofsTree& tree, int log, const ErofsDevices& devices, int out)
      : tree_(tree), log_(log), devices_(devices), out_(out), inodes_(out), blocks_(out) {}

  Status run() {
    TRY(lay_out());
    TRY(write_all());
    TRY(inodes_.flush());
    TRY(blocks_.flush());
    return write_super_block();
  }

 private:
  using Child = std::function<Status(std::string_view, InodeId)>;
  // The names of a directory with "." and ".." where they belong.
  Status each_name(InodeId id, const TreeInode& directory, const Child& visit) {
    constexpr std::string_view kOwn[] = {".", ".."};
    const InodeId own[] = {id, directory.parent};
    size_t next = 0;
    TRY(tree_.each(id, [&](std::string_view name, InodeId child) -> Status {
      for (; next < 2 && kOwn[next] < name; ++next) TRY(visit(kOwn[next], own[next]));
      return visit(name, child);
    }));
    for (; next < 2; ++next) TRY(visit(kOwn[next], own[next]));
    return {};
  }

  // First pass: where everything goes, how often it is linked.
  Status lay_out() {
    TRY(place(tree_.root()));
    TreeInode root = TRY(tree_.inode(tree_.root()));
    root.nlink = 2;
    TRY(tree_.set_inode(tree_.root(), root));
    InodeId last = tree_.root();
    for (InodeId id = tree_.root(); id != 0; id = TRY(tree_.inode(id)).next) {
      TreeInode directory = TRY(tree_.inode(id));
      DirectoryBlocks blocks(nullptr);
      uint32_t directories = 0;
      TRY(each_name(id, directory, [&](std::string_view name, InodeId child_id) -> Status {
        TRY(blocks.add(name, 0, 0));
        if (name == "." || name == "..") return {};
        TRY(place(child_id));
        TreeInode child = TRY(tree_.inode(child_id));
        if (!S_ISDIR(child.mode)) {
          ++child.nlink;
          return tree_.set_inode(child_id, child);
        }
        ++directories;
        child.nlink = 2;
        TRY(tree_.set_inode(child_id, child));
        TreeInode before = TRY(tree_.inode(last));
        before.next = child_id;
        TRY(tree_.set_inode(last, before));
        last = child_id;
        return {};
      }));
      TRY(blocks.finish());
      directory = TRY(tree_.inode(id));
      directory.nlink += directories;
      directory.size = blocks.size();
      directory.block = data_blocks_;
      data_blocks_ += aligned(blocks.size(), kBlock) / kBlock;
      TRY(tree_.set_inode(id, directory));
    }
    first_block_ = aligned(end_, kBlock) / kBlock;
    if (first_block_ + data_blocks_ >= erofs::kNoBlock) return invalid("too many members");
    return {};
  }

  static uint64_t xattr_bytes(const TreeInode& inode) {
    uint64_t size = inode.xattrs_size;
    if (inode.opaque) size += opaque_mark().size();
    return size == 0 ? 0 : sizeof(erofs::XattrHeader) + size;
  }
  static const std::string& opaque_mark() {
    static const std::string mark = [] {
      std::string out;
      append_xattr(out, 4, "overlay.opaque", "y");
      return out;
    }();
    return mark;
  }
  static bool inlined(const TreeInode& inode) {
    return S_ISLNK(inode.mode) && inode.size <= kInlineLink;
  }

  Status place(InodeId id) {
    TreeInode inode = TRY(tree_.inode(id));
    if (inode.place != 0) return {};
    uint64_t size = sizeof(erofs::InodeExtended) + xattr_bytes(inode);
    if (inode.chunks_size > 0) size = aligned(size, 8) + inode.chunks_size;
    uint64_t at = end_;
    if (inlined(inode)) {
      // What lies inline may not cross a block.
      while ((at + size) % kBlock + inode.size > kBlock) at += erofs::kSlot;
      size += inode.size;
    } else if (S_ISLNK(inode.mode)) {
      inode.block = data_blocks_;
      data_blocks_ += aligned(inode.size, kBlock) / kBlock;
    }
    inode.place = at;
    inode.ino = ++count_;
    end_ = aligned(at + size, erofs::kSlot);
    return tree_.set_inode(id, inode);
  }

  // Second pass, in the same order.
  Status write_all() {
    TRY(write_inode(tree_.root()));
    for (InodeId id = tree_.root(); id != 0;) {
      TreeInode directory = TRY(tree_.inode(id));
      uint64_t at = (first_block_ + directory.block) * kBlock;
      DirectoryBlocks blocks([&](std::string_view block) -> Status {
        TRY(blocks_.write(at, block));
        at += block.size();
        return {};
      });
      TRY(each_name(id, directory, [&](std::string_view name, InodeId child_id) -> Status {
        if (name != "." && name != "..") TRY(write_inode(child_id));
        TreeInode child = TRY(tree_.inode(child_id));
        return blocks.add(name, child.place / erofs::kSlot, entry_type(child.mode));
      }));
      TRY(blocks.finish());
      id = directory.next;
    }
    return {};
  }

  Result<std::string> from_log(uint64_t at, size_t size) {
    std::string out(size, '\0');
    for (size_t done = 0; done < size;) {
      size_t got =
          TRY(sys::pread(log_, out.data() + done, size - done, static_cast<off_t>(at + done)));
      if (got == 0) return internal("the list of a layer's members ends early");
      done += got;
    }
    return out;
  }

  Status write_inode(InodeId id) {
    TreeInode inode = TRY(tree_.inode(id));
    if (inode.place < written_) return {};  // another link to it came first
    erofs::InodeExtended disk = {};
    erofs::Layout layout = erofs::Layout::plain;
    if (inode.chunks_size > 0) {
      layout = erofs::Layout::chunks;
      disk.u = erofs::kChunkIndexes | inode.chunk_bits;
    } else if (inlined(inode)) {
      layout = erofs::Layout::inlined;
    } else if (S_ISDIR(inode.mode) || S_ISLNK(inode.mode)) {
      disk.u = static_cast<uint32_t>(first_block_ + inode.block);
    } else if (S_ISCHR(inode.mode) || S_ISBLK(inode.mode)) {
      disk.u = inode.device_number;
    }
    uint64_t xattrs = xattr_bytes(inode);
    disk.format = erofs::extended_format(layout);
    if (xattrs > 0)
      disk.xattr_count = static_cast<uint16_t>(1 + (xattrs - sizeof(erofs::XattrHeader)) / 4);
    disk.mode = static_cast<uint16_t>(inode.mode);
    disk.size = inode.size;
    disk.ino = inode.ino;
    disk.uid = inode.uid;
    disk.gid = inode.gid;
    disk.mtime = inode.mtime;
    disk.mtime_nsec = inode.mtime_nsec;
    disk.nlink = inode.nlink;
    std::string bytes(reinterpret_cast<const char*>(&disk), sizeof disk);
    if (xattrs > 0) {
      bytes.append(sizeof(erofs::XattrHeader), '\0');
      if (inode.xattrs_size > 0) bytes += TRY(from_log(inode.xattrs_at, inode.xattrs_size));
      if (inode.opaque) bytes += opaque_mark();
    }
    if (inode.chunks_size > 0) {
      bytes.resize(aligned(bytes.size(), 8));
      bytes += TRY(from_log(inode.chunks_at, inode.chunks_size));
    } else if (S_ISLNK(inode.mode)) {
      std::string link = TRY(from_log(inode.link_at, inode.size));
      if (inlined(inode)) {
        bytes += link;
      } else {
        TRY(sys::pwrite_all(out_, link, static_cast<off_t>((first_block_ + inode.block) * kBlock)));
      }
    }
    written_ = inode.place + 1;
    return inodes_.write(inode.place, bytes);
  }

  Status write_super_block() {
    uint64_t size = aligned((first_block_ + data_blocks_) * kBlock, kPageOfIndex);
    TRY(sys::ftruncate(out_, static_cast<off_t>(size)));
    erofs::SuperBlock super = {};
    super.magic = erofs::kMagic;
    super.compat = erofs::kCompatMtime;
    super.block_bits = erofs::kBlockBits;
    std::copy_n(devices_.id.begin(), std::min(devices_.id.size(), sizeof super.uuid), super.uuid);
    super.root_nid = static_cast<uint16_t>(erofs::kInodesOffset / erofs::kSlot);
    super.inodes = count_;
    super.blocks = static_cast<uint32_t>(size / kBlock);
    super.incompat = erofs::kIncompatChunked | erofs::kIncompatDeviceTable;
    super.extra_devices = devices_.side_size > 0 ? 2 : 1;
    super.device_table =
        static_cast<uint16_t>((erofs::kSuperOffset + sizeof super) / erofs::kDeviceSlot);
    std::string bytes(reinterpret_cast<const char*>(&super), sizeof super);
    for (uint64_t device : {devices_.tar_size, devices_.side_size}) {
      if (device == 0) continue;
      erofs::DeviceSlot slot = {};
      slot.blocks = static_cast<uint32_t>(aligned(device, kBlock) / kBlock);
      bytes.append(reinterpret_cast<const char*>(&slot), sizeof slot);
    }
    return sys::pwrite_all(out_, bytes, erofs::kSuperOffset);
  }

  ErofsTree& tree_;
  int log_;
  ErofsDevices devices_;
  int out_;
  PlacedWriter inodes_;
  PlacedWriter blocks_;
  uint64_t end_ = erofs::kInodesOffset;
  uint64_t written_ = 0;
  uint64_t data_blocks_ = 0;
  uint64_t first_block_ = 0;
  uint32_t count_ = 0;
};

}  // namespace

Status write_erofs_index(ErofsTree& tree, int log, const ErofsDevices& devices, int out) {
  return IndexWriter(tree, log, devices, out).run();
}

}  // namespace gantry::drivers
