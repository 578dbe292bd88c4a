#include "drivers/graph/erofs_tree.h"

#include <sys/stat.h>

#include <random>

namespace gantry::drivers {
namespace {

constexpr size_t kMemory = 12 << 20;

}  // namespace

Result<ErofsTree> ErofsTree::create(int directory) {
  ErofsTree tree(TRY(SpillFile::create(directory, kMemory)));
  std::random_device seed;
  tree.random_ = (uint64_t{seed()} << 32) | seed();
  TreeInode root;
  root.mode = S_IFDIR | 0755;
  root.implied = true;
  tree.root_ = TRY(tree.add_inode(root));
  root.parent = tree.root_;
  TRY(tree.set_inode(tree.root_, root));
  return tree;
}

// An archive must not be able to foresee the shape of the tree.
uint32_t ErofsTree::random() {
  random_ += 0x9E3779B97F4A7C15;
  uint64_t z = random_;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
  return static_cast<uint32_t>((z ^ (z >> 31)) >> 32);
}

Result<InodeId> ErofsTree::add_inode(const TreeInode& inode) {
  uint32_t id = TRY(file_.allocate(sizeof inode));
  TRY(file_.put(id, inode));
  return id;
}

Status ErofsTree::set(const Link& link, uint32_t entry) {
  if (link.kind == Link::Kind::root) {
    TreeInode directory = TRY(inode(link.id));
    directory.names = entry;
    return set_inode(link.id, directory);
  }
  Entry holder = TRY(file_.get<Entry>(link.id));
  (link.kind == Link::Kind::left ? holder.left : holder.right) = entry;
  return file_.put(link.id, holder);
}

Result<int> ErofsTree::compare(uint32_t entry, std::string_view name) {
  const char* bytes = TRY(file_.look(entry));
  Entry head;
  std::memcpy(&head, bytes, sizeof head);
  return name.compare(std::string_view(bytes + sizeof head, head.name_size));
}

Result<InodeId> ErofsTree::find(InodeId directory, std::string_view name) {
  TreeInode holder = TRY(inode(directory));
  uint32_t at = holder.names;
  while (at != 0) {
    int order = TRY(compare(at, name));
    Entry entry = TRY(file_.get<Entry>(at));
    if (order == 0) return entry.inode;
    at = order < 0 ? entry.left : entry.right;
  }
  return InodeId{0};
}

Status ErofsTree::link(InodeId directory, std::string_view name, InodeId inode_id) {
  Entry fresh;
  fresh.priority = random();
  fresh.inode = inode_id;
  fresh.name_size = static_cast<uint32_t>(name.size());
  uint32_t id = TRY(file_.allocate(sizeof fresh + name.size()));
  TRY(file_.put(id, fresh));
  char* bytes = TRY(file_.change(id));
  std::memcpy(bytes + sizeof fresh, name.data(), name.size());

  Link above{Link::Kind::root, directory};
  uint32_t at = TRY(inode(directory)).names;
  while (at != 0) {
    Entry entry = TRY(file_.get<Entry>(at));
    if (entry.priority < fresh.priority) break;
    int order = TRY(compare(at, name));
    above = {order < 0 ? Link::Kind::left : Link::Kind::right, at};
    at = order < 0 ? entry.left : entry.right;
  }
  TRY(set(above, id));
  // What stood there is split into what is before and what is behind the new name.
  Link before{Link::Kind::left, id};
  Link behind{Link::Kind::right, id};
  while (at != 0) {
    int order = TRY(compare(at, name));
    Entry entry = TRY(file_.get<Entry>(at));
    if (order > 0) {
      TRY(set(before, at));
      before = {Link::Kind::right, at};
      at = entry.right;
    } else {
      TRY(set(behind, at));
      behind = {Link::Kind::left, at};
      at = entry.left;
    }
  }
  TRY(set(before, 0));
  TRY(set(behind, 0));
  TreeInode child = TRY(inode(inode_id));
  if (!S_ISDIR(child.mode)) return {};
  child.parent = directory;
  child.entry = id;
  return set_inode(inode_id, child);
}

Status ErofsTree::unlink(InodeId directory, std::string_view name) {
  Link above{Link::Kind::root, directory};
  uint32_t at = TRY(inode(directory)).names;
  Entry entry;
  for (;;) {
    if (at == 0) return internal("unlink of a name that is not there");
    int order = TRY(compare(at, name));
    entry = TRY(file_.get<Entry>(at));
    if (order == 0) break;
    above = {order < 0 ? Link::Kind::left : Link::Kind::right, at};
    at = order < 0 ? entry.left : entry.right;
  }
  uint32_t left = entry.left;
  uint32_t right = entry.right;
  while (left != 0 && right != 0) {
    Entry a = TRY(file_.get<Entry>(left));
    Entry b = TRY(file_.get<Entry>(right));
    if (a.priority >= b.priority) {
      TRY(set(above, left));
      above = {Link::Kind::right, left};
      left = a.right;
    } else {
      TRY(set(above, right));
      above = {Link::Kind::left, right};
      right = b.left;
    }
  }
  return set(above, left != 0 ? left : right);
}

Status ErofsTree::each(InodeId directory, const Visitor& visit) {
  return each_entry(directory, [&](uint32_t, const Entry& entry, std::string_view name) {
    return visit(name, entry.inode);
  });
}

Status ErofsTree::filter(InodeId directory, const Filter& keep) {
  return each_entry(directory,
                    [&](uint32_t id, const Entry& entry, std::string_view name) -> Status {
                      bool kept = TRY(keep(name, entry.inode));
                      if (kept) return {};
                      Entry gone = entry;
                      gone.inode = 0;
                      return file_.put(id, gone);
                    });
}

Status ErofsTree::each_entry(InodeId directory, const EntryVisitor& visit) {
  std::vector<uint32_t> open;  // about as long as the treap is deep
  uint32_t at = TRY(inode(directory)).names;
  std::string name;
  while (at != 0 || !open.empty()) {
    while (at != 0) {
      open.push_back(at);
      at = TRY(file_.get<Entry>(at)).left;
    }
    uint32_t id = open.back();
    open.pop_back();
    const char* bytes = TRY(file_.look(id));
    Entry entry;
    std::memcpy(&entry, bytes, sizeof entry);
    name.assign(bytes + sizeof entry, entry.name_size);
    if (entry.inode != 0) TRY(visit(id, entry, name));
    at = entry.right;
  }
  return {};
}

Result<std::string> ErofsTree::path(InodeId directory) {
  std::string out;
  while (directory != root_) {
    TreeInode node = TRY(inode(directory));
    const char* bytes = TRY(file_.look(node.entry));
    Entry entry;
    std::memcpy(&entry, bytes, sizeof entry);
    std::string_view name(bytes + sizeof entry, entry.name_size);
    out = out.empty() ? std::string(name) : fmt::format("{}/{}", name, out);
    directory = node.parent;
  }
  return out;
}

}  // namespace gantry::drivers
