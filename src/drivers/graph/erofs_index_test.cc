// The index of the erofs driver: read back by an independent reader, and mounted and compared with
// what the other drivers make of the same archives.
#include "drivers/graph/erofs_index.h"

#include <sys/sysmacros.h>
#include <unistd.h>

#include <random>

#include "base/process.h"
#include "drivers/graph/driver_fixture.h"
#include "drivers/graph/erofs_layer.h"
#include "drivers/graph/erofs_walk.h"
#include "drivers/graph/spill_file.h"

namespace gantry::drivers {
namespace {

class ScratchTest : public testing::Test {
 protected:
  void SetUp() override {
    root_ = "/tmp/gantry-erofs-" + random_hex(6);
    ASSERT_TRUE(fs::make_directories(root_, 0700));
    directory_ = sys::open(root_, O_RDONLY | O_DIRECTORY).release();
  }
  void TearDown() override { ASSERT_TRUE(fs::remove_tree(root_)); }

  Result<std::map<std::string, WalkedInode>> index_of(const std::string& tar) {
    MemorySource source(tar);
    (void)TRY(ingest_archive(directory_.get(), source));
    UniqueFd out = TRY(sys::openat(directory_.get(), "index", O_RDWR | O_CREAT, 0600));
    (void)TRY(make_index(directory_.get(), "id", {}, out.get()));
    text_ = TRY(fs::read_file_at(directory_.get(), "index"));
    uint64_t side = 0;
    if (Result<struct stat> st = sys::fstatat(directory_.get(), kSideName); st)
      side = static_cast<uint64_t>(st->st_size);
    return ErofsWalk(text_, tar.size(), side).run();
  }

  std::string root_;
  UniqueFd directory_;
  std::string text_;
};

TEST_F(ScratchTest, RecordsComeBackWhenThereIsLittleMemory) {
  SpillFile file = SpillFile::create(directory_.get(), 4 * SpillFile::kPage).release();
  std::vector<uint32_t> ids;
  struct Record {
    uint64_t value;
    char more[200];
  };
  for (uint64_t i = 0; i < 20000; ++i) {
    uint32_t id = file.allocate(sizeof(Record)).value();
    ASSERT_TRUE(file.put(id, Record{i, {}}));
    ids.push_back(id);
  }
  std::mt19937 random(1);
  for (int i = 0; i < 20000; ++i) {
    size_t which = random() % ids.size();
    Record record = file.get<Record>(ids[which]).value();
    ASSERT_EQ(record.value % 20000, which);
    record.value += 20000;
    ASSERT_TRUE(file.put(ids[which], record));
  }
}

TEST_F(ScratchTest, ATreeKeepsItsNamesInOrderWhateverIsLinkedAndUnlinked) {
  ErofsTree tree = ErofsTree::create(directory_.get()).release();
  std::map<std::string, InodeId> model;
  std::mt19937 random(7);
  for (int i = 0; i < 20000; ++i) {
    std::string name = std::to_string(random() % 3000);
    InodeId there = tree.find(tree.root(), name).value();
    auto known = model.find(name);
    ASSERT_EQ(there, known == model.end() ? 0 : known->second);
    if (there == 0) {
      TreeInode inode;
      inode.mode = S_IFREG;
      InodeId id = tree.add_inode(inode).value();
      ASSERT_TRUE(tree.link(tree.root(), name, id));
      model[name] = id;
    } else {
      ASSERT_TRUE(tree.unlink(tree.root(), name));
      model.erase(name);
    }
  }
  auto next = model.begin();
  ASSERT_TRUE(tree.each(tree.root(), [&](std::string_view name, InodeId id) -> Status {
    EXPECT_EQ(name, next->first);
    EXPECT_EQ(id, next->second);
    ++next;
    return {};
  }));
  EXPECT_TRUE(next == model.end());
}

TEST_F(ScratchTest, TheSameArchiveGivesTheSameIndex) {
  std::string tar = Archive()
                        .file("b/c", "1")
                        .directory("a")
                        .add(tar::Type::hardlink, "a/l", "b/c")
                        .file(".wh.gone", "")
                        .done();
  ASSERT_TRUE(index_of(tar));
  std::string first = text_;
  ASSERT_TRUE(fs::remove_tree(root_));
  SetUp();
  Result<std::map<std::string, WalkedInode>> tree = index_of(tar);
  ASSERT_TRUE(tree) << tree.error().message();
  EXPECT_EQ(text_, first);
  EXPECT_EQ(tree->at("a/l").disk.nlink, 2u);
  EXPECT_EQ(tree->at("a/l").disk.ino, tree->at("b/c").disk.ino);
  EXPECT_FALSE(tree->contains("gone")) << "a whiteout of nothing";
}

TEST_F(ScratchTest, AnIndexOfManyMembersIsMadeInLittleMemory) {
  constexpr int kMembers = 60000;
  Archive archive;
  for (int i = 0; i < kMembers; ++i)
    archive.file(fmt::format("d{}/{:x}", i % 7, i * 2654435761u), "");
  std::string tar = archive.done();
  Result<std::map<std::string, WalkedInode>> tree = index_of(tar);
  ASSERT_TRUE(tree) << tree.error().message();
  EXPECT_EQ(tree->size(), kMembers + 8u);
}

// GNU tar writes what is sparse; the erofs driver and overlay2 must show the same.
TEST_F(ScratchTest, SparseFilesHaveTheirHoles) {
  for (const char* format : {"--format=gnu", "--format=posix"}) {
    UniqueFd file =
        sys::openat(directory_.get(), "sparse", O_RDWR | O_CREAT | O_TRUNC, 0600).release();
    ASSERT_TRUE(sys::ftruncate(file.get(), (64 << 20) + 5));
    for (off_t at : {0, 5'000'001, 20'000'000, (64 << 20) + 2})
      ASSERT_TRUE(sys::pwrite_all(file.get(), "xyz", at));
    SpawnOptions options;
    options.program = "tar";
    options.arguments = {"tar", "--sparse", format, "-C", root_, "-cf", root_ + "/s.tar", "sparse"};
    ASSERT_TRUE(run_process(options));
    std::string tar = fs::read_file(root_ + "/s.tar").release();
    ASSERT_LT(tar.size(), 1u << 20);
    Result<std::map<std::string, WalkedInode>> tree = index_of(tar);
    ASSERT_TRUE(tree) << tree.error().message();
    const WalkedInode& inode = tree->at("sparse");
    EXPECT_EQ(inode.disk.size, (64u << 20) + 5);
    size_t holes = 0;
    for (const erofs::ChunkIndex& chunk : inode.chunks) holes += chunk.block == erofs::kNoBlock;
    EXPECT_GT(holes, inode.chunks.size() / 2);
    EXPECT_LE(inode.chunks.size(), 16384u);
    std::string side = fs::read_file(root_ + "/side", 1 << 30).release();
    std::string whole = fs::read_file(root_ + "/sparse", 1 << 30).release();
    for (size_t i = 0; i < inode.chunks.size(); ++i) {
      std::string_view want =
          std::string_view(whole).substr(i * inode.chunk_size, inode.chunk_size);
      if (inode.chunks[i].block == erofs::kNoBlock)
        ASSERT_EQ(want.find_first_not_of('\0'), want.npos);
      else
        ASSERT_EQ(std::string_view(side).substr(inode.chunks[i].block * size_t{512}, want.size()),
                  want);
    }
    for (const char* name : {"tar", "side", "members", "index"})
      ASSERT_TRUE(fs::remove_tree(root_ + "/" + name));
  }
}

// --- the same archives with every driver
// -----------------------------------------------------------

class RandomArchive {
 public:
  explicit RandomArchive(unsigned seed) : random_(seed) {}
  std::string make() {
    Archive archive;
    int members = 1 + pick(14);
    for (int i = 0; i < members; ++i) add(archive);
    return archive.done();
  }

 private:
  int pick(int below) { return static_cast<int>(random_() % static_cast<unsigned>(below)); }
  std::string name() { return std::string(1, "abcd"[pick(4)]); }
  std::string path() {
    std::string out = name();
    for (int depth = pick(4); depth > 0; --depth) out += "/" + name();
    return out;
  }
  void add(Archive& archive) {
    tar::Entry entry;
    entry.path = path();
    entry.mode = static_cast<mode_t>(pick(07777 + 1));
    entry.uid = static_cast<uid_t>(pick(3));
    entry.gid = static_cast<gid_t>(pick(3) * 70000);
    entry.mtime = {pick(2'000'000'000), pick(1'000'000'000)};
    if (pick(4) == 0) entry.xattrs.emplace_back("trusted.t" + name(), std::string(pick(600), 'x'));
    std::string parent = entry.path.substr(0, entry.path.rfind('/') + 1);
    switch (pick(13)) {
      case 0:
        archive.file(parent + ".wh." + name(), "");
        return;
      case 1:
        archive.file(parent + ".wh..wh..opq", "");
        return;
      case 2:
        entry.type = tar::Type::symlink;
        entry.link = std::string(pick(3) == 0 ? "/" : pick(3) == 0 ? "../" : "") + path();
        break;
      case 3:
        entry.type = tar::Type::hardlink;
        entry.link = path();
        break;
      case 4:
        entry.type = pick(2) ? tar::Type::fifo : tar::Type::char_device;
        entry.major = 1;
        entry.minor = static_cast<unsigned>(pick(300));
        break;
      case 5:
      case 6:
      case 7:
      case 8:
        entry.type = tar::Type::directory;
        if (pick(8) == 0) entry.path = ".";
        break;
      default: {
        std::string contents(static_cast<size_t>(pick(2) ? pick(4000) : pick(40)), 'c');
        for (char& c : contents) c = static_cast<char>(pick(256));
        entry.size = contents.size();
        archive.file_of(entry, contents);
        return;
      }
    }
    archive.add(entry);
  }
  std::mt19937 random_;
};

template <typename T>
T must(Result<T> result) {
  if (!result) throw std::runtime_error(result.error().message());
  return result.release();
}

// Everything that a container can see of a tree.
void describe(int directory, const std::string& path, std::map<std::string, std::string>& out) {
  std::vector<std::string> names = must(fs::list_directory(directory));
  for (const std::string& name : names) {
    if (path.empty() && name.size() > 1) continue;  // what is there for the runtime to mount over
    struct stat st = must(sys::fstatat(directory, name));
    std::string& text = out[path + "/" + name];
    text = fmt::format("{:o} {}:{} {}.{:09} ", st.st_mode, st.st_uid, st.st_gid, st.st_mtim.tv_sec,
                       st.st_mtim.tv_nsec);
    if (S_ISCHR(st.st_mode)) text += fmt::format("{:x} ", st.st_rdev);
    if (S_ISLNK(st.st_mode)) text += sys::readlinkat(directory, name).value() + " ";
    if (S_ISREG(st.st_mode))
      text += fmt::format("{} {}", st.st_size,
                          Digest::of(must(fs::read_file_at(directory, name))).text());
    std::string at = fmt::format("/proc/self/fd/{}/{}", directory, name);
    char list[4096];
    ssize_t size = ::llistxattr(at.c_str(), list, sizeof list);
    std::map<std::string, std::string> xattrs;
    for (const char* key = list; key < list + size; key += std::strlen(key) + 1) {
      char value[4096];
      ssize_t length = ::lgetxattr(at.c_str(), key, value, sizeof value);
      if (!std::string_view(key).starts_with("trusted.overlay."))
        xattrs[key] = std::string(value, length < 0 ? 0 : static_cast<size_t>(length));
    }
    for (const auto& [key, value] : xattrs) text += fmt::format(" {}={}", key, value.size());
    if (!S_ISDIR(st.st_mode)) continue;
    UniqueFd child = must(sys::openat(directory, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
    describe(child.get(), path + "/" + name, out);
  }
}

TEST(EveryDriver, ShowsTheSameOfRandomArchives) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  std::string root = "/tmp/gantry-same-" + random_hex(6);
  std::vector<std::shared_ptr<GraphDriver>> drivers;
  for (std::string_view name : graph_driver_names()) {
    Result<std::shared_ptr<GraphDriver>> driver =
        open_graph_driver(std::string(name), root + "/" + std::string(name));
    if (driver) drivers.push_back(driver.release());
  }
  const char* given = std::getenv("GANTRY_RANDOM_ARCHIVES");
  unsigned rounds = given ? static_cast<unsigned>(std::atoi(given)) : 25;
  int published = 0;
  for (unsigned seed = 1; seed <= rounds; ++seed) {
    std::vector<Digest> top(drivers.size());
    std::string id = "c" + std::to_string(seed);
    for (int depth = 0; depth < 3; ++depth) {
      std::string tar = RandomArchive(seed * 10 + static_cast<unsigned>(depth)).make();
      std::vector<bool> taken;
      std::string errors;
      for (size_t i = 0; i < drivers.size(); ++i) {
        MemorySource source(tar);
        LayerSpec spec{Digest::of(top[i].text() + tar), {}, top[i], new_layer_directory()};
        Result<LayerInfo> info = drivers[i]->apply(spec, source);
        taken.push_back(info.has_value());
        if (info) top[i] = info->chain_id;
        errors +=
            fmt::format("{}: {}\n", drivers[i]->name(), info ? "taken" : info.error().message());
      }
      for (bool each : taken) ASSERT_EQ(each, taken.front()) << "seed " << seed << "\n" << errors;
      published += taken.front();
    }
    std::vector<std::map<std::string, std::string>> trees(drivers.size());
    for (size_t i = 0; i < drivers.size(); ++i) {
      RootfsSource source = must(drivers[i]->create_container({id, top[i]}));
      Result<UniqueFd> fd = open_rootfs(source);
      ASSERT_TRUE(fd) << fd.error().message();
      describe(fd->get(), "", trees[i]);
      trees[i]["/"] = fmt::format("{:o}", sys::fstat(fd->get())->st_mode);
      if (i == 0) continue;
      for (const auto& [path, text] : trees[0])
        ASSERT_EQ(text, trees[i].contains(path) ? trees[i][path] : "missing")
            << "seed " << seed << " " << path << " " << drivers[i]->name();
      ASSERT_EQ(trees[0].size(), trees[i].size())
          << "seed " << seed << " more of " << drivers[i]->name();
    }
  }
  EXPECT_GT(published, static_cast<int>(rounds));
  drivers.clear();
  ASSERT_TRUE(fs::remove_tree(root));
}

}  // namespace
}  // namespace gantry::drivers
