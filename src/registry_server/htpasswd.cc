#include "registry_server/htpasswd.h"

#include <crypt.h>
#include <openssl/crypto.h>

#include "base/digest.h"
#include "base/fs.h"
#include "base/id.h"
#include "registry_server/content_digest.h"

namespace gantry::registry_server {
namespace {

constexpr size_t kFileLimit = 4u << 20;
constexpr size_t kHashLength = 60;
constexpr size_t kPasswordLimit = 72;  // bcrypt ignores what comes after
constexpr int kHighestCost = 14;
constexpr size_t kCached = 4096;
constexpr auto kCacheTime = std::chrono::minutes(5);
// Of nobody's password: what an unknown user is checked against.
constexpr const char* kNobody = "$2b$10$8yx6ioSCnRfGAZg/HaWmtut/g3.3g4NGwNHhNCbvuP/qoTjYrd6mm";

bool is_bcrypt(std::string_view hash) {
  if (hash.size() != kHashLength || !hash.starts_with("$2") || hash[3] != '$' || hash[6] != '$')
    return false;
  if (hash[2] != 'a' && hash[2] != 'b' && hash[2] != 'y') return false;
  for (char c : hash.substr(7)) {
    bool good = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                c == '.' || c == '/';
    if (!good) return false;
  }
  return hash[4] >= '0' && hash[4] <= '9' && hash[5] >= '0' && hash[5] <= '9';
}

bool verify(const std::string& password, const std::string& hash) {
  auto data = std::make_unique<crypt_data>();
  const char* made = ::crypt_r(password.c_str(), hash.c_str(), data.get());
  return made != nullptr && strlen(made) == hash.size() &&
         CRYPTO_memcmp(made, hash.data(), hash.size()) == 0;
}

}  // namespace

Result<Htpasswd> Htpasswd::parse(std::string_view text) {
  Htpasswd out;
  int number = 0;
  while (!text.empty()) {
    size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    ++number;
    while (!line.empty() && (line.back() == '\r' || line.back() == ' ')) line.remove_suffix(1);
    if (line.empty() || line.front() == '#') continue;
    size_t colon = line.find(':');
    if (colon == std::string_view::npos || colon == 0)
      return invalid("line {}: expected user:hash", number);
    std::string user(line.substr(0, colon));
    std::string_view hash = line.substr(colon + 1);
    if (!is_bcrypt(hash))
      return invalid(
          "line {}: the hash of user '{}' is none of bcrypt's (make it with "
          "`gantry-registry htpasswd` or `htpasswd -B`)",
          number, user);
    int cost = (hash[4] - '0') * 10 + (hash[5] - '0');
    if (cost < 4 || cost > kHighestCost)
      return invalid("line {}: bcrypt's cost {} of user '{}' is not between 4 and {}", number, cost,
                     user, kHighestCost);
    if (!out.hashes_.emplace(user, hash).second)
      return invalid("line {}: user '{}' is there twice", number, user);
  }
  return out;
}

Result<Htpasswd> Htpasswd::load(const std::string& path) {
  std::string text = TRY(fs::read_file(path, kFileLimit));
  return parse(text).context("{}", path);
}

bool Htpasswd::check(const std::string& user, const std::string& password) const {
  auto found = hashes_.find(user);
  // crypt_r() reads up to a NUL, and a password with one would match its beginning.
  bool possible = found != hashes_.end() && password.find('\0') == std::string::npos;
  bool right = verify(password, possible ? found->second : kNobody);
  return possible && right;
}

std::string Htpasswd::fingerprint(const std::string& user) const {
  auto found = hashes_.find(user);
  if (found == hashes_.end()) return {};
  return Digest::of("htpasswd " + user + ":" + found->second).hex();
}

Result<std::string> htpasswd_line(const std::string& user, const std::string& password, int cost) {
  if (user.empty() || user.find_first_of(":\n\r") != std::string::npos)
    return invalid("a user's name is not empty and has no ':'");
  if (password.empty() || password.size() > kPasswordLimit ||
      password.find('\0') != std::string::npos)
    return invalid("a password has 1 to {} bytes", kPasswordLimit);
  if (cost < 4 || cost > kHighestCost)
    return invalid("bcrypt's cost is between 4 and {}", kHighestCost);
  char setting[CRYPT_GENSALT_OUTPUT_SIZE];
  if (::crypt_gensalt_rn("$2y$", static_cast<unsigned long>(cost), nullptr, 0, setting,
                         sizeof setting) == nullptr)
    return errno_error(errno, "crypt_gensalt");
  auto data = std::make_unique<crypt_data>();
  const char* hash = ::crypt_r(password.c_str(), setting, data.get());
  if (hash == nullptr || !is_bcrypt(hash)) return internal("crypt: bcrypt is not to be had");
  return user + ":" + hash;
}

PasswordCache::PasswordCache() : salt_(random_hex(32)) {}

std::string PasswordCache::key(const std::string& user, const std::string& password) const {
  return ContentDigest::of(salt_ + std::to_string(user.size()) + ":" + user + password).hex();
}

bool PasswordCache::knows(const std::string& user, const std::string& password) {
  std::string name = key(user, password);
  std::lock_guard lock(mutex_);
  auto found = until_.find(name);
  return found != until_.end() && found->second > std::chrono::steady_clock::now();
}

void PasswordCache::add(const std::string& user, const std::string& password) {
  std::string name = key(user, password);
  std::lock_guard lock(mutex_);
  if (until_.size() >= kCached) until_.clear();
  until_[name] = std::chrono::steady_clock::now() + kCacheTime;
}

void PasswordCache::clear() {
  std::lock_guard lock(mutex_);
  until_.clear();
}

}  // namespace gantry::registry_server
