#include "registry_server/collector.h"

#include <algorithm>

#include "base/clock.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/sys.h"
#include "base/units.h"
#include "registry_server/route.h"

namespace gantry::registry_server {
namespace {

constexpr uint64_t kResolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
constexpr size_t kDeepest = 128;  // parts of a name, which has at most 255 characters

int64_t modified(const struct stat& st) {
  return static_cast<int64_t>(st.st_mtim.tv_sec) * 1'000'000'000 + st.st_mtim.tv_nsec;
}

// The entries of a directory inside a repository; none when it is not there.
std::vector<std::string> entries_of(const Result<UniqueFd>& directory) {
  if (!directory) return {};
  auto names = fs::list_directory(directory->get());
  return names ? std::move(*names) : std::vector<std::string>();
}

}  // namespace

std::string CollectorReport::text() const {
  return fmt::format(
      "removed {} manifests, {} links of blobs, {} objects of content, {} unfinished uploads and "
      "{} "
      "empty repositories; {} freed\n",
      manifests, links, blobs, uploads, repositories, human_size(static_cast<double>(bytes)));
}

CollectorSettings CollectorSettings::of(const Options& options) {
  CollectorSettings settings;
  settings.grace_ns = options.gc_grace;
  settings.untagged = options.gc_untagged;
  settings.upload_age_ns = options.upload_age;
  settings.interval_ns = options.gc_interval;
  settings.cache = !options.upstream.empty();
  if (settings.cache) settings.evict_above = static_cast<uint64_t>(options.quota_total);
  return settings;
}

void Collector::set(const CollectorSettings& settings) {
  std::lock_guard lock(mutex_);
  settings_ = settings;
  changed_.notify_all();
}

bool Collector::old(const struct stat& st) const { return modified(st) <= limit_ns_; }

Result<CollectorReport> Collector::run(uint64_t room) {
  std::unique_lock running(running_, std::try_to_lock);
  if (!running) return conflict("a collection of garbage is under way");
  {
    std::lock_guard lock(mutex_);
    in_use_ = settings_;
  }
  limit_ns_ = now_ns() - in_use_.grace_ns;
  CollectorReport report;
  report.uploads = TRY(uploads_.expire(in_use_.upload_age_ns));
  evicted_.clear();
  if (in_use_.evict_above != 0) TRY(evict(room));
  TRY(each_repository(store_.repositories_.get(), "", [&](const std::string& name) -> Status {
    return collect_repository(name, report).context("{}", name);
  }));
  TRY(sweep_content(report));
  ++metrics_.gc_runs;
  metrics_.gc_blobs += report.blobs;
  metrics_.gc_bytes += report.bytes;
  std::string text = report.text();
  text.pop_back();
  log::info("garbage: {}", text);
  return report;
}

Status Collector::each_repository(int directory, const std::string& prefix,
                                  const std::function<Status(const std::string&)>& visit) {
  if (std::count(prefix.begin(), prefix.end(), '/') > static_cast<long>(kDeepest)) return {};
  for (const std::string& entry : TRY(fs::list_directory(directory))) {
    if (!check_repository(entry)) continue;
    auto fd = sys::openat2(directory, entry, O_RDONLY | O_DIRECTORY, kResolve);
    if (!fd) continue;
    TRY(each_repository(fd->get(), prefix + entry + "/", visit));
    TRY(visit(prefix + entry));
  }
  return {};
}

Status Collector::collect_repository(const std::string& name, CollectorReport& report) {
  Marks marks;
  TRY(mark(name, marks));  // most of the reading, without the lock
  std::lock_guard lock(store_.of_repository(name));
  if (in_use_.untagged) TRY(sweep_untagged(name, report));
  if (in_use_.untagged || !evicted_.empty()) marks = {};
  TRY(mark(name, marks));  // what came meanwhile
  TRY(sweep_blobs(name, marks, report));
  return remove_empty(name, report);
}

Status Collector::mark(const std::string& name, Marks& marks) {
  auto manifests = store_.inside(name, "_manifests");
  for (const std::string& key : entries_of(manifests)) {
    if (!marks.seen.insert(key).second) continue;
    auto text = fs::read_file_at(manifests->get(), key, kManifestLimit);
    if (!text && text.error().code() == ENOENT) continue;
    if (!text) return std::move(text).error();
    auto view = ManifestView::parse(*text);
    // A damaged manifest may need anything: the whole repository is left as it is.
    if (!view) return invalid("manifest {}: {}", key, view.error().message());
    for (const ManifestReference& one : view->references) marks.blobs.insert(one.digest.key());
  }
  return {};
}

// With the repository's lock held.
Status Collector::sweep_untagged(const std::string& name, CollectorReport& report) {
  auto manifests = store_.inside(name, "_manifests");
  auto tags = store_.inside(name, "_tags");
  std::map<std::string, ManifestView> all;
  for (const std::string& key : entries_of(manifests)) {
    std::string text = TRY(fs::read_file_at(manifests->get(), key, kManifestLimit));
    all[key] = TRY(ManifestView::parse(text).context("manifest {}", key));
  }
  std::set<std::string> kept;
  std::vector<std::string> todo;
  auto keep = [&](const std::string& key) {
    if (all.contains(key) && kept.insert(key).second) todo.push_back(key);
  };
  for (const std::string& tag : entries_of(tags)) {
    auto text = fs::read_file_at(tags->get(), tag, 256);
    if (!text || !is_tag(tag)) continue;
    while (text->ends_with('\n')) text->pop_back();
    if (auto digest = ContentDigest::parse(*text)) keep(digest->key());
  }
  for (const auto& [key, view] : all) {
    auto st = sys::fstatat(manifests->get(), key);
    if (st && !old(*st)) keep(key);
  }
  std::multimap<std::string, std::string> about;  // subject → referrer
  for (const auto& [key, view] : all)
    if (!view.subject.empty()) about.emplace(view.subject.key(), key);
  while (!todo.empty()) {
    std::string key = std::move(todo.back());
    todo.pop_back();
    for (const ManifestReference& one : all[key].references) keep(one.digest.key());
    auto [first, last] = about.equal_range(key);
    for (auto at = first; at != last; ++at) keep(at->second);
  }
  for (const auto& [key, view] : all) {
    if (kept.contains(key)) continue;
    if (!view.subject.empty()) {
      auto list = store_.inside(name, "_referrers/" + view.subject.key());
      if (list) (void)::unlinkat(list->get(), key.c_str(), 0);
    }
    TRY(store_.drop_link(name, Links::manifests, TRY(ContentDigest::from_key(key))));
    ++report.manifests;
  }
  return {};
}

// With the repository's lock held.
Status Collector::sweep_blobs(const std::string& name, const Marks& marks,
                              CollectorReport& report) {
  auto blobs = store_.inside(name, "_blobs");
  for (const std::string& key : entries_of(blobs)) {
    if ((in_use_.cache || marks.blobs.contains(key)) && !evicted_.contains(key)) continue;
    auto st = sys::fstatat(blobs->get(), key);
    auto digest = ContentDigest::from_key(key);
    if (!st || !digest || (!old(*st) && !evicted_.contains(key))) continue;
    TRY(store_.drop_link(name, Links::blobs, *digest));
    ++report.links;
  }
  return {};
}

// With the repository's lock held.
Status Collector::remove_empty(const std::string& name, CollectorReport& report) {
  auto referrers = store_.inside(name, "_referrers");
  for (const std::string& subject : entries_of(referrers))
    (void)::unlinkat(referrers->get(), subject.c_str(), AT_REMOVEDIR);
  auto directory = store_.repository(name);
  if (!directory) return {};
  for (const char* part : {"_manifests", "_tags", "_blobs"})
    if (!entries_of(store_.inside(name, part)).empty()) return {};
  for (const char* part : {"_manifests", "_tags", "_blobs", "_referrers"})
    (void)::unlinkat(directory->get(), part, AT_REMOVEDIR);
  // Fails when there is another repository below, or something came.
  if (::unlinkat(store_.repositories_.get(), name.c_str(), AT_REMOVEDIR) == 0)
    ++report.repositories;
  return {};
}

Status Collector::sweep_content(CollectorReport& report) {
  for (const char* algorithm : {"sha256", "sha512"}) {
    UniqueFd directory =
        TRY(sys::openat2(store_.blobs_fd_.get(), algorithm, O_RDONLY | O_DIRECTORY, kResolve));
    for (const std::string& prefix : TRY(fs::list_directory(directory.get()))) {
      UniqueFd inner = TRY(sys::openat2(directory.get(), prefix, O_RDONLY | O_DIRECTORY, kResolve));
      for (const std::string& hex : TRY(fs::list_directory(inner.get()))) {
        auto digest = ContentDigest::parse(std::string(algorithm) + ":" + hex);
        if (!digest) continue;
        auto early = sys::fstatat(inner.get(), hex);
        if (!early || early->st_nlink != 1) continue;
        std::lock_guard lock(store_.of_digest(*digest));
        auto st = sys::fstatat(inner.get(), hex);
        bool evicted = evicted_.contains(digest->key());
        if (!st || st->st_nlink != 1 || (!old(*st) && !evicted)) continue;
        TRY(sys::unlinkat(inner.get(), hex));
        store_.used_ -= static_cast<uint64_t>(st->st_size);
        --store_.blobs_;
        ++report.blobs;
        report.bytes += static_cast<uint64_t>(st->st_size);
      }
    }
  }
  return {};
}

// What a cache has to give up: the content that was used longest ago, until four fifths are left.
Status Collector::evict(uint64_t room) {
  uint64_t used = store_.used_bytes() + room;
  if (used <= in_use_.evict_above / 10 * 9) return {};
  struct Candidate {
    int64_t when;
    uint64_t size;
    std::string key;
  };
  std::vector<Candidate> all;
  for (const char* algorithm : {"sha256", "sha512"}) {
    UniqueFd directory =
        TRY(sys::openat2(store_.blobs_fd_.get(), algorithm, O_RDONLY | O_DIRECTORY, kResolve));
    for (const std::string& prefix : TRY(fs::list_directory(directory.get()))) {
      UniqueFd inner = TRY(sys::openat2(directory.get(), prefix, O_RDONLY | O_DIRECTORY, kResolve));
      for (const std::string& hex : TRY(fs::list_directory(inner.get()))) {
        auto st = sys::fstatat(inner.get(), hex);
        if (st)
          all.push_back({modified(*st), static_cast<uint64_t>(st->st_size),
                         std::string(algorithm) + "-" + hex});
      }
    }
  }
  std::sort(all.begin(), all.end(),
            [](const Candidate& a, const Candidate& b) { return a.when < b.when; });
  for (const Candidate& one : all) {
    if (used <= in_use_.evict_above / 5 * 4) break;
    evicted_.insert(one.key);
    used -= std::min(used, one.size);
  }
  return {};
}

void Collector::start() {
  thread_ = std::thread([this] { loop(); });
}

void Collector::stop() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
    changed_.notify_all();
  }
  if (thread_.joinable()) thread_.join();
}

void Collector::loop() {
  std::unique_lock lock(mutex_);
  auto last = std::chrono::steady_clock::now();
  while (!stopping_) {
    if (settings_.interval_ns == 0) {
      changed_.wait(lock);
      last = std::chrono::steady_clock::now();
      continue;
    }
    auto next = last + std::chrono::nanoseconds(settings_.interval_ns);
    if (std::chrono::steady_clock::now() < next) {
      changed_.wait_until(lock, next);
      continue;
    }
    lock.unlock();
    auto report = run();
    if (!report) log::error("garbage: {}", report.error().message());
    lock.lock();
    last = std::chrono::steady_clock::now();
  }
}

}  // namespace gantry::registry_server
