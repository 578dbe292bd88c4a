// Users and bcrypt hashes in the format of Apache's htpasswd -B, checked by libcrypt.
#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "base/result.h"

namespace gantry::registry_server {

// Immutable after parse(). check() blocks for as long as bcrypt takes (some 60 ms at cost 10).
class Htpasswd {
 public:
  // Lines "user:$2y$…"; empty lines and "#" are skipped. Errors name the line: another hash than
  // bcrypt's, a user twice, a cost above 14 (a second and more for each check).
  static Result<Htpasswd> parse(std::string_view text);
  static Result<Htpasswd> load(const std::string& path);

  // An unknown user takes as long as a wrong password.
  bool check(const std::string& user, const std::string& password) const;
  // Changes with the user's line; "" for an unknown user. Tells nothing of the password.
  std::string fingerprint(const std::string& user) const;
  size_t size() const { return hashes_.size(); }

 private:
  std::map<std::string, std::string, std::less<>> hashes_;
};

// A line for the file. Errors: invalid (a user with ':', a password over 72 bytes, the cost).
Result<std::string> htpasswd_line(const std::string& user, const std::string& password, int cost);

// Remembers for a while which passwords were right, by a keyed hash, since clients send them with
// every request. Bounded; thread-safe.
class PasswordCache {
 public:
  PasswordCache();
  bool knows(const std::string& user, const std::string& password);
  void add(const std::string& user, const std::string& password);
  void clear();

 private:
  std::string key(const std::string& user, const std::string& password) const;

  const std::string salt_;
  std::mutex mutex_;
  std::map<std::string, std::chrono::steady_clock::time_point> until_;
};

}  // namespace gantry::registry_server
