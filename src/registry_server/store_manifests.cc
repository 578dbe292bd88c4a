#include <algorithm>

#include "base/clock.h"
#include "base/fs.h"
#include "base/id.h"
#include "base/sys.h"
#include "registry_server/route.h"
#include "registry_server/store.h"

namespace gantry::registry_server {
namespace {

constexpr uint64_t kResolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
constexpr size_t kTagFileLimit = 256;

bool is_absent(const Error& error) { return error.code() == ENOENT; }

bool has(int directory, const std::string& name) {
  return ::faccessat(directory, name.c_str(), F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

Result<ContentDigest> read_tag(int tags, const std::string& tag) {
  std::string text = TRY(fs::read_file_at(tags, tag, kTagFileLimit));
  while (text.ends_with('\n')) text.pop_back();
  return ContentDigest::parse(text);
}

}  // namespace

Result<ContentDigest> Store::resolve_tag(const std::string& name, const std::string& tag) {
  if (!is_tag(tag)) return not_found("tag {} is not valid", tag);
  UniqueFd tags = TRY(inside(name, "_tags"));
  return read_tag(tags.get(), tag);
}

Result<int64_t> Store::tag_age_ns(const std::string& name, const std::string& tag) {
  if (!is_tag(tag)) return not_found("tag {} is not valid", tag);
  UniqueFd tags = TRY(inside(name, "_tags"));
  auto st = TRY(sys::fstatat(tags.get(), tag));
  return now_ns() - (static_cast<int64_t>(st.st_mtim.tv_sec) * 1'000'000'000 + st.st_mtim.tv_nsec);
}

Result<Content> Store::open_manifest(const std::string& name, const ContentDigest& digest) {
  TRY(check_repository(name));
  UniqueFd fd = TRY(
      sys::openat2(repositories_.get(), name + "/_manifests/" + digest.key(), O_RDONLY, kResolve));
  auto st = TRY(sys::fstat(fd.get()));
  return Content{std::move(fd), static_cast<uint64_t>(st.st_size),
                 static_cast<int64_t>(st.st_mtim.tv_sec) * 1'000'000'000 + st.st_mtim.tv_nsec};
}

// What a manifest refers to and the repository has not; what it has is renewed, so that a
// collection which is under way leaves it.
Result<std::vector<ContentDigest>> Store::missing(const std::string& name,
                                                  const ManifestView& view) {
  std::vector<ContentDigest> out;
  auto blobs = inside(name, "_blobs");
  auto manifests = inside(name, "_manifests");
  auto renewed = [](const Result<UniqueFd>& directory, const ContentDigest& digest) {
    return directory &&
           ::utimensat(directory->get(), digest.key().c_str(), nullptr, AT_SYMLINK_NOFOLLOW) == 0;
  };
  for (const ManifestReference& one : view.references) {
    bool there = one.manifest
                     ? renewed(manifests, one.digest)
                     : renewed(blobs, one.digest) || (view.index && renewed(manifests, one.digest));
    if (!there && !one.foreign) out.push_back(one.digest);
  }
  return out;
}

// With the repository's lock held.
Status Store::write_content(std::string_view text, const ContentDigest& digest,
                            const std::string& name, Links kind) {
  std::lock_guard digest_lock(of_digest(digest));
  UniqueFd content = TRY(make_shard(digest));
  struct stat st {};
  bool there = ::fstatat(content.get(), digest.hex().c_str(), &st, AT_SYMLINK_NOFOLLOW) == 0;
  if (!there || static_cast<uint64_t>(st.st_size) != text.size()) {
    std::string temporary = "content-" + random_hex(16);
    Status written = [&]() -> Status {
      UniqueFd fd = TRY(sys::openat(uploads_.get(), temporary, O_WRONLY | O_CREAT | O_EXCL, 0640));
      TRY(sys::write_all(fd.get(), text));
      TRY(sys::fsync(fd.get()));
      return sys::renameat(uploads_.get(), temporary, content.get(), digest.hex());
    }();
    if (!written) {
      (void)::unlinkat(uploads_.get(), temporary.c_str(), 0);
      return written;
    }
    used_ += text.size() - (there ? static_cast<uint64_t>(st.st_size) : 0);
    if (!there) ++blobs_;
  }
  UniqueFd target = TRY(make_inside(name, kind == Links::blobs ? "_blobs" : "_manifests"));
  bool had = has(target.get(), digest.key());
  TRY(link(digest, target.get(), digest.key()));
  if (!had) count_link(name, text.size(), true);
  return {};
}

Result<Store::PutResult> Store::put_manifest(const std::string& name, const ContentDigest& digest,
                                             std::string_view text, const ManifestView& view,
                                             const std::string& tag, Check check,
                                             const std::optional<ContentDigest>& expected) {
  PutResult result;
  std::lock_guard lock(of_repository(name));
  if (expected) {
    auto now = resolve_tag(name, tag);
    if (!now && !is_absent(now.error())) return std::move(now).error();
    result.stale = (now ? *now : ContentDigest()) != *expected;
    if (result.stale) return result;
  }
  if (check == Check::references) {
    result.missing = TRY(missing(name, view));
    if (!result.missing.empty()) return result;
  }
  TRY(write_content(text, digest, name, Links::manifests));
  if (!view.subject.empty()) {
    UniqueFd list = TRY(make_inside(name, "_referrers/" + view.subject.key()));
    std::lock_guard digest_lock(of_digest(digest));
    TRY(this->link(digest, list.get(), digest.key()));
  }
  if (tag.empty()) return result;
  UniqueFd tags = TRY(make_inside(name, "_tags"));
  TRY(fs::replace_file_at(tags.get(), tag, digest.text() + "\n", 0640, fs::Durability::synced));
  return result;
}

Status Store::set_tag(const std::string& name, const std::string& tag,
                      const ContentDigest& digest) {
  std::lock_guard lock(of_repository(name));
  UniqueFd tags = TRY(make_inside(name, "_tags"));
  return fs::replace_file_at(tags.get(), tag, digest.text() + "\n", 0640, fs::Durability::synced);
}

Status Store::remove_tag(const std::string& name, const std::string& tag) {
  if (!is_tag(tag)) return not_found("tag {} is not valid", tag);
  std::lock_guard lock(of_repository(name));
  UniqueFd tags = TRY(inside(name, "_tags"));
  TRY(sys::unlinkat(tags.get(), tag));
  return sys::fsync(tags.get());
}

Status Store::remove_manifest(const std::string& name, const ContentDigest& digest) {
  std::lock_guard lock(of_repository(name));
  Content content = TRY(open_manifest(name, digest));
  // Tags first: none may name what is not there.
  auto tags = inside(name, "_tags");
  if (!tags && !is_absent(tags.error())) return std::move(tags).error();
  if (tags) {
    bool removed = false;
    for (const std::string& tag : TRY(fs::list_directory(tags->get()))) {
      auto target = is_tag(tag) ? read_tag(tags->get(), tag) : ContentDigest();
      if (!target || *target != digest) continue;
      TRY(sys::unlinkat(tags->get(), tag));
      removed = true;
    }
    if (removed) TRY(sys::fsync(tags->get()));
  }
  auto text = sys::read_all(content.fd.get(), kManifestLimit);
  auto view = text ? ManifestView::parse(*text) : Result<ManifestView>(std::move(text).error());
  if (view && !view->subject.empty()) {
    auto list = inside(name, "_referrers/" + view->subject.key());
    if (list && has(list->get(), digest.key())) {
      TRY(sys::unlinkat(list->get(), digest.key()));
      TRY(sys::fsync(list->get()));
    }
  }
  return drop_link(name, Links::manifests, digest);
}

// ---- lists

bool Store::has_repository(const std::string& name) {
  return inside(name, "_manifests").has_value() || inside(name, "_blobs").has_value();
}

Result<Names> Store::tags(const std::string& name, const std::string& last, size_t limit) {
  Names out;
  auto directory = inside(name, "_tags");
  if (!directory && is_absent(directory.error())) {
    if (!has_repository(name)) return std::move(directory).error();
    return out;
  }
  UniqueFd fd = TRY(std::move(directory));
  std::vector<std::string> all = TRY(fs::list_directory(fd.get()));
  std::erase_if(all, [&](const std::string& tag) { return !is_tag(tag) || tag <= last; });
  std::sort(all.begin(), all.end());
  out.more = limit != 0 && all.size() > limit;
  if (out.more) all.resize(limit);
  out.names = std::move(all);
  return out;
}

namespace {

// Repositories in the order of their whole names, which is not that of a walk: "a-b" stands
// between "a" and "a/b". So each directory is met twice, as a name and as what is below it.
class CatalogWalk {
 public:
  CatalogWalk(const std::string& last, size_t limit,
              const std::function<bool(const std::string&)>& visible)
      : last_(last), limit_(limit), visible_(visible) {}

  Status walk(int directory, const std::string& prefix) {
    std::vector<std::string> entries;
    for (std::string& name : TRY(fs::list_directory(directory))) {
      if (!check_repository(name)) continue;
      entries.push_back(name + "/");
      entries.push_back(std::move(name));
    }
    std::sort(entries.begin(), entries.end());
    for (const std::string& entry : entries) {
      if (found.more) return {};
      std::string name = prefix + entry;
      bool below = entry.back() == '/';
      // Everything below sorts before `last_` unless `last_` is in there itself.
      if (name <= last_ && !(below && last_.starts_with(name))) continue;
      auto fd = sys::openat2(directory, below ? entry.substr(0, entry.size() - 1) : entry,
                             O_RDONLY | O_DIRECTORY, kResolve);
      if (!fd) continue;  // removed meanwhile
      if (below)
        TRY(walk(fd->get(), name));
      else
        visit(fd->get(), name);
    }
    return {};
  }

  Names found;

 private:
  void visit(int directory, const std::string& name) {
    auto manifests = sys::openat2(directory, "_manifests", O_RDONLY | O_DIRECTORY, kResolve);
    if (!manifests) return;
    auto entries = fs::list_directory(manifests->get());
    if (!entries || entries->empty() || !visible_(name)) return;
    if (limit_ != 0 && found.names.size() == limit_)
      found.more = true;
    else
      found.names.push_back(name);
  }

  const std::string& last_;
  const size_t limit_;
  const std::function<bool(const std::string&)>& visible_;
};

}  // namespace

Result<Names> Store::repositories(const std::string& last, size_t limit,
                                  const std::function<bool(const std::string&)>& visible) {
  CatalogWalk walk(last, limit, visible);
  TRY(walk.walk(repositories_.get(), ""));
  return std::move(walk.found);
}

Status Store::referrers(const std::string& name, const ContentDigest& subject,
                        const std::string& last, const std::function<bool(Referrer)>& visit) {
  auto directory = inside(name, "_referrers/" + subject.key());
  if (!directory && is_absent(directory.error())) return {};
  UniqueFd fd = TRY(std::move(directory));
  std::vector<std::string> entries = TRY(fs::list_directory(fd.get()));
  std::sort(entries.begin(), entries.end());
  for (const std::string& entry : entries) {
    if (entry <= last) continue;
    auto digest = ContentDigest::from_key(entry);
    auto text = fs::read_file_at(fd.get(), entry, kManifestLimit);
    if (!digest || !text) continue;  // removed meanwhile
    auto view = ManifestView::parse(*text);
    if (!view) continue;
    if (!visit({*digest, text->size(), std::move(*view)})) return {};
  }
  return {};
}

}  // namespace gantry::registry_server
