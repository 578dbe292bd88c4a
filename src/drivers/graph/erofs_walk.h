// For tests: an independent reader of EROFS indexes. It checks what the kernel relies on (every
// offset inside its file, names sorted, counts right) and gives the tree.
#pragma once

#include <sys/stat.h>

#include <cstring>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/result.h"
#include "drivers/graph/erofs_format.h"

namespace gantry::drivers {

struct WalkedInode {
  erofs::InodeExtended disk = {};
  std::string link;
  std::map<std::string, std::string> xattrs;  // "4:overlay.opaque" → "y"
  std::vector<erofs::ChunkIndex> chunks;
  uint64_t chunk_size = 0;
};

class ErofsWalk {
 public:
  // Sizes of devices 1 and 2.
  ErofsWalk(std::string_view index, uint64_t tar_size, uint64_t side_size)
      : index_(index), devices_{index.size(), tar_size, side_size} {}

  // By path; "" is the root.
  Result<std::map<std::string, WalkedInode>> run() {
    erofs::SuperBlock super;
    TRY(read(erofs::kSuperOffset, super));
    if (super.magic != erofs::kMagic || super.block_bits != 9 || super.meta_block != 0)
      return invalid("super block");
    if (super.device_table * 128u != erofs::kSuperOffset + 128) return invalid("device table");
    if (super.extra_devices != (devices_[2] > 0 ? 2 : 1)) return invalid("devices");
    if (uint64_t{super.blocks} * 512 != index_.size()) return invalid("blocks");
    for (unsigned i = 1; i <= super.extra_devices; ++i) {
      erofs::DeviceSlot slot;
      TRY(read(super.device_table * 128u + (i - 1) * 128, slot));
      if (slot.blocks != (devices_[i] + 511) / 512) return invalid("device slot");
    }
    TRY(walk("", super.root_nid, super.root_nid, 0));
    for (const auto& [nid, links] : links_)
      if (inodes_.at(nid).disk.nlink != links)
        return invalid("nid {}: {} links, {} names", nid, inodes_.at(nid).disk.nlink, links);
    if (super.inodes != inodes_.size()) return invalid("number of inodes");
    return std::move(tree_);
  }

 private:
  template <typename T>
  Status read(uint64_t at, T& out) {
    std::string_view bytes = TRY(slice(at, sizeof out));
    std::memcpy(&out, bytes.data(), sizeof out);
    return {};
  }
  Result<std::string_view> slice(uint64_t at, uint64_t size) {
    if (size > index_.size() || at > index_.size() - size) return invalid("outside of the index");
    return index_.substr(at, size);
  }

  Status load(uint64_t nid) {
    if (inodes_.contains(nid)) return {};
    uint64_t at = nid * erofs::kSlot;
    WalkedInode inode;
    TRY(read(at, inode.disk));
    const erofs::InodeExtended& disk = inode.disk;
    at += sizeof disk;
    if ((disk.format & 1) == 0) return invalid("nid {}: not extended", nid);
    if (disk.xattr_count > 0) {
      uint64_t size = sizeof(erofs::XattrHeader) + 4 * (disk.xattr_count - 1u);
      if (disk.xattr_count == 1) return invalid("nid {}: attributes of no bytes", nid);
      std::string_view left = TRY(slice(at, size)).substr(sizeof(erofs::XattrHeader));
      while (!left.empty()) {
        erofs::XattrEntry entry;
        if (left.size() < sizeof entry) return invalid("nid {}: attribute", nid);
        std::memcpy(&entry, left.data(), sizeof entry);
        size_t whole = (sizeof entry + entry.name_size + entry.value_size + 3u) / 4 * 4;
        if (left.size() < whole) return invalid("nid {}: attribute", nid);
        inode.xattrs[std::to_string(entry.prefix) + ":" +
                     std::string(left.substr(sizeof entry, entry.name_size))] =
            left.substr(sizeof entry + entry.name_size, entry.value_size);
        left.remove_prefix(whole);
      }
      at += size;
    }
    auto layout = static_cast<erofs::Layout>(disk.format >> 1);
    if (layout == erofs::Layout::chunks) {
      if (!S_ISREG(disk.mode)) return invalid("nid {}: chunks of no file", nid);
      inode.chunk_size = erofs::kBlock << (disk.u & 0x1F);
      at = (at + 7) / 8 * 8;
      for (uint64_t done = 0; done < disk.size; done += inode.chunk_size, at += 8) {
        erofs::ChunkIndex chunk;
        TRY(read(at, chunk));
        inode.chunks.push_back(chunk);
        if (chunk.block == erofs::kNoBlock) continue;
        if (chunk.device != 1 && chunk.device != 2) return invalid("nid {}: device", nid);
        uint64_t size = std::min<uint64_t>(disk.size - done, inode.chunk_size);
        if (chunk.block * uint64_t{512} + size > devices_[chunk.device])
          return invalid("nid {}: contents outside of the device", nid);
      }
    } else if (S_ISREG(disk.mode) && disk.size > 0) {
      return invalid("nid {}: contents without chunks", nid);
    } else if (S_ISLNK(disk.mode)) {
      bool inlined = layout == erofs::Layout::inlined;
      if (inlined && at % 512 + disk.size > 512) return invalid("nid {}: link over blocks", nid);
      inode.link = TRY(slice(inlined ? at : disk.u * uint64_t{512}, disk.size));
      if (inode.link.empty()) return invalid("nid {}: no link", nid);
    }
    inodes_[nid] = std::move(inode);
    return {};
  }

  Status walk(const std::string& path, uint64_t nid, uint64_t parent, int depth) {
    if (depth > 3000) return invalid("too deep");
    TRY(load(nid));
    WalkedInode inode = inodes_.at(nid);
    tree_[path] = inode;
    if (!S_ISDIR(inode.disk.mode)) {
      ++links_[nid];
      return {};
    }
    if (links_.contains(nid)) return invalid("nid {}: a directory with two names", nid);
    links_[nid] = 2;
    std::string before;
    bool first = true;
    std::set<std::string> own;
    for (uint64_t done = 0; done < inode.disk.size; done += 512) {
      uint64_t size = std::min<uint64_t>(512, inode.disk.size - done);
      std::string_view block = TRY(slice(inode.disk.u * uint64_t{512} + done, size));
      erofs::DirectoryEntry entry;
      if (size < sizeof entry) return invalid("nid {}: directory block", nid);
      std::memcpy(&entry, block.data(), sizeof entry);
      size_t count = entry.name_offset / sizeof entry;
      for (size_t i = 0; i < count; ++i) {
        erofs::DirectoryEntry next;
        if ((i + 1) * sizeof entry > size) return invalid("nid {}: directory block", nid);
        std::memcpy(&entry, block.data() + i * sizeof entry, sizeof entry);
        size_t end = size;
        if (i + 1 < count) {
          std::memcpy(&next, block.data() + (i + 1) * sizeof entry, sizeof next);
          end = next.name_offset;
        }
        if (entry.name_offset >= end || end > size) return invalid("nid {}: name", nid);
        std::string name(block.substr(entry.name_offset, end - entry.name_offset));
        name = name.c_str();  // the last one of a block may be padded
        if (name.empty() || name.size() > 255 || name.find('/') != std::string::npos)
          return invalid("nid {}: name", nid);
        if (!first && !(before < name)) return invalid("nid {}: names not sorted", nid);
        first = false;
        before = name;
        if (name == "." || name == "..") {
          own.insert(name);
          if (entry.nid != (name == "." ? nid : parent)) return invalid("nid {}: {}", nid, name);
          continue;
        }
        TRY(load(entry.nid));
        if (kTypes[(inodes_.at(entry.nid).disk.mode & S_IFMT) >> 12] != entry.type)
          return invalid("nid {}: type of {}", nid, name);
        if (entry.type == 2) ++links_[nid];
        TRY(walk(path.empty() ? name : path + "/" + name, entry.nid, nid, depth + 1));
      }
    }
    if (own.size() != 2) return invalid("nid {}: without . and ..", nid);
    return {};
  }

  static constexpr uint8_t kTypes[16] = {0, 5, 3, 0, 2, 0, 4, 0, 1, 0, 7, 0, 6, 0, 0, 0};
  std::string_view index_;
  uint64_t devices_[3];
  std::map<uint64_t, WalkedInode> inodes_;
  std::map<uint64_t, uint32_t> links_;
  std::map<std::string, WalkedInode> tree_;
};

}  // namespace gantry::drivers
