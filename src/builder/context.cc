#include "builder/context.h"

#include <fcntl.h>

#include <algorithm>
#include <set>

#include "base/sys.h"

namespace gantry::builder {
namespace {

// Passes an archive on and keeps a copy of every byte.
class SpoolingSource final : public ByteSource {
 public:
  SpoolingSource(ByteSource& from, int borrowed, const std::function<Status()>& check)
      : from_(from), fd_(borrowed), check_(check) {}
  Result<size_t> read(std::span<char> into) override {
    TRY(check_());
    size_t got = TRY(from_.read(into));
    TRY(sys::write_all(fd_, {into.data(), got}));
    return got;
  }

 private:
  ByteSource& from_;
  int fd_;
  const std::function<Status()>& check_;
};

tar::Entry directory_entry(const std::string& path) {
  tar::Entry entry;
  entry.path = path;
  entry.type = tar::Type::directory;
  entry.mode = 0755;
  return entry;
}

bool is_below(std::string_view path, std::string_view directory) {
  return path.size() > directory.size() && path.starts_with(directory) &&
         path[directory.size()] == '/';
}

}  // namespace

std::unique_ptr<Context> Context::empty() { return std::unique_ptr<Context>(new Context); }

Result<std::unique_ptr<Context>> Context::read(ByteSource& archive, const std::string& directory,
                                               const image::LayerLimits& limits,
                                               const std::function<Status()>& check) {
  std::unique_ptr<Context> context(new Context);
  context->spool_ = TRY(sys::open(directory, O_TMPFILE | O_RDWR, 0600));
  image::PipelineInput pipeline;
  pipeline.name = "of the build context";
  pipeline.compressed = &archive;
  pipeline.limits = limits;
  pipeline.digest_compressed = false;
  TRY(image::run_pipeline(pipeline, [&](ByteSource& tar) -> Status {
    SpoolingSource spooling(tar, context->spool_.get(), check);
    tar::Reader reader(spooling);
    for (;;) {
      std::optional<tar::Entry> entry = TRY(reader.next());
      if (!entry) return reader.finish();
      TRY(context->add(reader, std::move(*entry)));
    }
  }).context("the build context"));
  return context;
}

void Context::add_parents(const std::string& path) {
  for (size_t slash = path.find('/'); slash != path.npos; slash = path.find('/', slash + 1)) {
    std::string parent = path.substr(0, slash);
    auto known = members_.find(parent);
    if (known == members_.end())
      members_[parent].entry = directory_entry(parent);
    else if (known->second.entry.type != tar::Type::directory)
      known->second = Member{directory_entry(parent), 0, {}};
  }
}

Status Context::add_hard_link(tar::Entry& entry) {
  std::optional<std::string> target = tar::clean_path(entry.link);
  auto known = target ? members_.find(*target) : members_.end();
  if (known == members_.end() || known->second.entry.type == tar::Type::directory)
    return invalid("{}: a link to {}, which is not before it in the archive", entry.path,
                   entry.link);
  Member copy = known->second;
  copy.entry.path = entry.path;
  members_[entry.path] = std::move(copy);
  return {};
}

Status Context::add(tar::Reader& reader, tar::Entry entry) {
  std::optional<std::string> path = tar::clean_path(entry.path);
  if (!path) return invalid("{}: the name leads out of it", entry.path);
  if (path->empty()) return {};
  if (members_.size() >= kMaxContextMembers)
    return invalid("it has more than {} files: leave some out with a .dockerignore",
                   kMaxContextMembers);
  entry.path = *path;
  add_parents(*path);
  if (auto known = members_.find(*path);
      known != members_.end() && entry.type != tar::Type::directory &&
      known->second.entry.type == tar::Type::directory) {
    auto below = members_.lower_bound(*path + "/");
    while (below != members_.end() && is_below(below->first, *path)) below = members_.erase(below);
  }
  if (entry.type == tar::Type::hardlink) return add_hard_link(entry);
  Member member;
  member.offset = reader.position();
  if (entry.type == tar::Type::regular) {
    if (entry.extents) return invalid("{}: sparse files are not taken", entry.path);
    Sha256 hash;
    for (;;) {
      std::string_view piece = TRY(reader.payload());
      if (piece.empty()) break;
      hash.update(piece);
    }
    member.digest = hash.finish();
  }
  member.entry = std::move(entry);
  members_[*path] = std::move(member);
  return {};
}

void Context::ignore(const IgnoreList& list) {
  if (list.empty()) return;
  std::set<std::string, std::less<>> needed;  // directories that something is left of
  for (auto member = members_.end(); member != members_.begin();) {
    --member;
    const std::string& path = member->first;
    if (list.ignores(path) && !needed.contains(path)) {
      member = members_.erase(member);
      continue;
    }
    if (size_t slash = path.rfind('/'); slash != path.npos) needed.insert(path.substr(0, slash));
  }
}

void Context::remove(const std::string& path) { members_.erase(path); }

Result<std::string> Context::contents(const std::string& path, size_t limit) {
  std::string found = TRY(resolve(*this, path));
  std::unique_ptr<ByteSource> source = TRY(open(found));
  return read_all(*source, limit);
}

Result<std::optional<tar::Entry>> Context::stat(const std::string& path) {
  if (path.empty()) return std::optional<tar::Entry>(directory_entry(path));
  auto found = members_.find(path);
  if (found == members_.end()) return std::optional<tar::Entry>();
  return std::optional<tar::Entry>(found->second.entry);
}

Result<std::vector<std::string>> Context::list(const std::string& path) {
  std::vector<std::string> names;
  const std::string prefix = path.empty() ? "" : path + "/";
  for (auto member = members_.lower_bound(prefix);
       member != members_.end() && member->first.starts_with(prefix);) {
    std::string name = member->first.substr(prefix.size());
    // Directories stand before what is in them, which is passed over: '0' comes after '/'.
    name.resize(std::min(name.find('/'), name.size()));
    if (names.empty() || names.back() != name) names.push_back(name);
    if (members_.find(prefix + name)->second.entry.type == tar::Type::directory &&
        member->first != prefix + name)
      member = members_.lower_bound(prefix + name + "0");
    else
      ++member;
  }
  std::sort(names.begin(), names.end());
  names.erase(std::unique(names.begin(), names.end()), names.end());
  return names;
}

Result<const Context::Member*> Context::file(const std::string& path) const {
  auto found = members_.find(path);
  if (found == members_.end() || found->second.entry.type != tar::Type::regular)
    return not_found("{}: no such file in the build context", path);
  return &found->second;
}

Result<std::unique_ptr<ByteSource>> Context::open(const std::string& path) {
  const Member* member = TRY(file(path));
  return std::unique_ptr<ByteSource>(
      std::make_unique<FileRangeSource>(spool_.get(), member->offset, member->entry.size));
}

Result<Digest> Context::digest(const std::string& path) {
  const Member* member = TRY(file(path));
  return Digest(member->digest);
}

}  // namespace gantry::builder
