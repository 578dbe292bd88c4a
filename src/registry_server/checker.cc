#include "registry_server/checker.h"

#include "base/fs.h"
#include "base/sys.h"
#include "registry_server/route.h"

namespace gantry::registry_server {
namespace {

constexpr uint64_t kResolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;

bool absent(const Error& error) { return error.code() == ENOENT; }

Result<bool> is_right(int fd, uint64_t size, const ContentDigest& digest) {
  return TRY(hash_file(fd, size, digest.algorithm())).finish() == digest;
}

}  // namespace

void Checker::problem(const std::string& text) {
  ++report_.problems;
  tell_(text);
}

Result<CheckReport> Checker::run() {
  TRY(check_contents());
  TRY(check_repositories(store_.repositories_.get(), ""));
  return report_;
}

Status Checker::check_contents() {
  for (const char* algorithm : {"sha256", "sha512"}) {
    auto directory =
        sys::openat2(store_.blobs_fd_.get(), algorithm, O_RDONLY | O_DIRECTORY, kResolve);
    if (!directory && absent(directory.error())) continue;
    if (!directory) return std::move(directory).error();
    for (const std::string& prefix : TRY(fs::list_directory(directory->get()))) {
      UniqueFd inner =
          TRY(sys::openat2(directory->get(), prefix, O_RDONLY | O_DIRECTORY, kResolve));
      for (const std::string& hex : TRY(fs::list_directory(inner.get()))) {
        auto digest = ContentDigest::parse(std::string(algorithm) + ":" + hex);
        if (!digest || hex.substr(0, 2) != prefix) {
          problem(fmt::format("blobs/{}/{}/{}: it is no content's name", algorithm, prefix, hex));
          continue;
        }
        auto fd = sys::openat(inner.get(), hex, O_RDONLY | O_NOFOLLOW);
        if (!fd && absent(fd.error())) continue;  // collected meanwhile
        if (!fd) return std::move(fd).error();
        auto st = TRY(sys::fstat(fd->get()));
        ++report_.contents;
        bool right = TRY(is_right(fd->get(), static_cast<uint64_t>(st.st_size), *digest));
        verified_[{st.st_dev, st.st_ino}] = right;
        if (right) continue;
        problem(fmt::format("{}: its content has another digest", digest->text()));
        if (repair_ == Repair::no) continue;
        TRY(sys::unlinkat(inner.get(), hex));
        ++report_.repaired;
      }
    }
  }
  return {};
}

Status Checker::check_repositories(int directory, const std::string& prefix) {
  for (const std::string& entry : TRY(fs::list_directory(directory))) {
    if (!check_repository(entry)) continue;
    auto fd = sys::openat2(directory, entry, O_RDONLY | O_DIRECTORY, kResolve);
    if (!fd) continue;
    TRY(check_repository_links(prefix + entry));
    TRY(check_repositories(fd->get(), prefix + entry + "/"));
  }
  return {};
}

Status Checker::check_repository_links(const std::string& name) {
  if (!store_.inside(name, "_manifests") && !store_.inside(name, "_blobs")) return {};
  ++report_.repositories;
  TRY(check_links(name, Links::blobs));
  TRY(check_links(name, Links::manifests));
  TRY(check_tags(name));
  return check_referrers(name);
}

Status Checker::check_links(const std::string& name, Links kind) {
  auto directory = store_.inside(name, kind == Links::blobs ? "_blobs" : "_manifests");
  if (!directory) return {};
  for (const std::string& key : TRY(fs::list_directory(directory->get()))) {
    auto digest = ContentDigest::from_key(key);
    if (!digest) {
      problem(fmt::format("{}: '{}' is no link's name", name, key));
      continue;
    }
    auto fd = sys::openat(directory->get(), key, O_RDONLY | O_NOFOLLOW);
    if (!fd && absent(fd.error())) continue;
    if (!fd) return std::move(fd).error();
    auto st = TRY(sys::fstat(fd->get()));
    auto known = verified_.find({st.st_dev, st.st_ino});
    if (known == verified_.end()) {
      bool right = TRY(is_right(fd->get(), static_cast<uint64_t>(st.st_size), *digest));
      known = verified_.emplace(std::pair{st.st_dev, st.st_ino}, right).first;
    }
    if (!known->second) {
      problem(fmt::format("{}: {} is damaged", name, digest->text()));
      if (repair_ == Repair::no) continue;
      TRY(sys::unlinkat(directory->get(), key));
      ++report_.repaired;
    } else if (kind == Links::manifests) {
      TRY(check_manifest(name, *digest));
    }
  }
  return {};
}

Status Checker::check_manifest(const std::string& name, const ContentDigest& digest) {
  auto content = store_.open_manifest(name, digest);
  if (!content) return {};
  ++report_.manifests;
  std::string text = TRY(sys::read_all(content->fd.get(), kManifestLimit));
  auto view = ManifestView::parse(text);
  if (!view) {
    problem(fmt::format("{}: {}: {}", name, digest.text(), view.error().message()));
    return {};
  }
  for (const ManifestReference& one : view->references) {
    if (one.foreign || references_ == References::optional) continue;
    auto there = store_.inside(name, "_blobs");
    bool found = there && ::faccessat(there->get(), one.digest.key().c_str(), F_OK, 0) == 0;
    auto manifests = store_.inside(name, "_manifests");
    found |= manifests && ::faccessat(manifests->get(), one.digest.key().c_str(), F_OK, 0) == 0;
    // A manifest that was deleted meanwhile needs nothing.
    if (!found && store_.open_manifest(name, digest))
      problem(fmt::format("{}: {} needs {}, which is not there: push the image again", name,
                          digest.text(), one.digest.text()));
  }
  if (view->subject.empty()) return {};
  auto list = store_.inside(name, "_referrers/" + view->subject.key());
  if (list && ::faccessat(list->get(), digest.key().c_str(), F_OK, 0) == 0) return {};
  problem(fmt::format("{}: {} is not listed among the referrers of {}", name, digest.text(),
                      view->subject.text()));
  if (repair_ == Repair::no) return {};
  UniqueFd made = TRY(store_.make_inside(name, "_referrers/" + view->subject.key()));
  TRY(store_.link(digest, made.get(), digest.key()));
  ++report_.repaired;
  return {};
}

Status Checker::check_tags(const std::string& name) {
  auto tags = store_.inside(name, "_tags");
  if (!tags) return {};
  for (const std::string& tag : TRY(fs::list_directory(tags->get()))) {
    if (!is_tag(tag)) continue;  // the temporary of a replacement
    auto digest = store_.resolve_tag(name, tag);
    if (!digest && absent(digest.error())) continue;
    if (digest && store_.open_manifest(name, *digest)) continue;
    if (!store_.resolve_tag(name, tag)) continue;  // deleted meanwhile
    problem(fmt::format("{}:{} leads nowhere", name, tag));
    if (repair_ == Repair::no) continue;
    TRY(sys::unlinkat(tags->get(), tag));
    ++report_.repaired;
  }
  return {};
}

Status Checker::check_referrers(const std::string& name) {
  auto all = store_.inside(name, "_referrers");
  if (!all) return {};
  for (const std::string& subject : TRY(fs::list_directory(all->get()))) {
    auto list = store_.inside(name, "_referrers/" + subject);
    if (!list) continue;
    for (const std::string& key : TRY(fs::list_directory(list->get()))) {
      auto digest = ContentDigest::from_key(key);
      if (digest && store_.open_manifest(name, *digest)) continue;
      if (::faccessat(list->get(), key.c_str(), F_OK, 0) != 0) continue;
      problem(fmt::format("{}: a referrer {} of {} is not there", name, key, subject));
      if (repair_ == Repair::no) continue;
      TRY(sys::unlinkat(list->get(), key));
      ++report_.repaired;
    }
  }
  return {};
}

}  // namespace gantry::registry_server
