#include "trust/policy_file.h"

#include "base/fs.h"
#include "base/log.h"

namespace gantry::trust {

std::optional<PolicyFile::Stamp> PolicyFile::stamp_of(const std::string& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) return std::nullopt;
  auto ns = [](const timespec& at) { return at.tv_sec * int64_t{1'000'000'000} + at.tv_nsec; };
  return Stamp{status.st_dev, status.st_ino, status.st_size, ns(status.st_mtim),
               ns(status.st_ctim)};
}

Status PolicyFile::load(const Stamp& stamp) {
  seen_ = stamp;
  std::string text = TRY(fs::read_file(path_, 4u << 20));
  Policy policy = TRY(Policy::parse(text).context("policy {}", path_));
  policy_ = std::make_shared<const Policy>(std::move(policy));
  error_.clear();
  return {};
}

Result<std::unique_ptr<PolicyFile>> PolicyFile::open(std::string path, bool must_exist) {
  std::unique_ptr<PolicyFile> file(new PolicyFile(std::move(path)));
  std::optional<Stamp> stamp = stamp_of(file->path_);
  if (!stamp && errno != ENOENT) return error_from_errno(errno, "policy " + file->path_);
  if (!stamp && must_exist) return not_found("policy {}: there is no such file", file->path_);
  if (stamp) TRY(file->load(*stamp));
  return file;
}

std::shared_ptr<const Policy> PolicyFile::current() {
  std::lock_guard lock(mutex_);
  std::optional<Stamp> stamp = stamp_of(path_);
  if (!stamp) {
    if (policy_ && seen_) {
      seen_.reset();
      error_ = fmt::format("policy {}: the file has gone", path_);
      log::error("{}; the policy that was read stays in force until a restart", error_);
    }
    return policy_;
  }
  if (stamp == seen_) return policy_;
  bool first = policy_ == nullptr;
  Status loaded = load(*stamp);
  if (loaded) {
    log::info("policy {}: read", path_);
  } else {
    error_ = loaded.error().message();
    log::error("{}; {}", error_,
               first ? "nothing is allowed until it is right" : "the one before stays in force");
    if (first) {
      // Somebody wanted a policy: until it can be read, nothing is allowed.
      static constexpr std::string_view kNothing = R"({"default":[{"type":"reject"}]})";
      Result<Policy> nothing = Policy::parse(kNothing);
      if (nothing) policy_ = std::make_shared<const Policy>(nothing.release());
      return policy_;
    }
  }
  return policy_;
}

std::string PolicyFile::error() {
  std::lock_guard lock(mutex_);
  return error_;
}

}  // namespace gantry::trust
