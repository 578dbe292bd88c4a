#include "client/commands/trust_files.h"

#include <fcntl.h>
#include <termios.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>

#include "base/fs.h"
#include "base/json.h"
#include "base/sys.h"
#include "client/cli/cli.h"
#include "client/io/terminal.h"
#include "trust/policy.h"

namespace gantry::client {
namespace {

constexpr size_t kKeyLimit = 64u << 10;

std::string without_newline(std::string text) {
  while (text.ends_with('\n') || text.ends_with('\r')) text.pop_back();
  return text;
}

Result<std::string> ask_on_terminal(std::string_view question) {
  print_out(question);
  flush_out();
  termios before{};
  if (::tcgetattr(STDIN_FILENO, &before) != 0) return error_from_errno(errno, "tcgetattr");
  termios quiet = before;
  quiet.c_lflag &= ~static_cast<tcflag_t>(ECHO);
  (void)::tcsetattr(STDIN_FILENO, TCSADRAIN, &quiet);
  std::string line;
  char c = 0;
  while (::read(STDIN_FILENO, &c, 1) == 1 && c != '\n') line += c;
  (void)::tcsetattr(STDIN_FILENO, TCSADRAIN, &before);
  print_out("\n");
  return line;
}

// A new file; one that is there is left as it is.
Status write_new(const std::string& path, std::string_view text, mode_t mode) {
  Result<UniqueFd> file = sys::open(path, O_WRONLY | O_CREAT | O_EXCL, mode);
  if (!file && file.error().code() == EEXIST)
    return conflict("{} is there already: give another name (--output)", path);
  UniqueFd fd = TRY(std::move(file));
  return sys::write_all(fd.get(), text);
}

Result<json::object> requirement_of(const PolicyChange& change) {
  json::object out;
  if (change.type == "accept" || change.type == "insecureAcceptAnything") {
    out["type"] = "insecureAcceptAnything";
  } else if (change.type == "reject") {
    out["type"] = "reject";
  } else if (change.type == "signedBy" || change.type == "sigstoreSigned") {
    out["type"] = change.type;
    if (change.type == "signedBy") out["keyType"] = "GPGKeys";
    if (change.keys.empty())
      return invalid("--type {} needs the files of the keys (--pubkeysfile)", change.type);
    json::array paths;
    for (const std::string& key : change.keys) {
      std::string path = std::filesystem::absolute(key).lexically_normal();
      if (!fs::exists(path)) return not_found("open {}: no such file or directory", key);
      paths.emplace_back(path);
    }
    if (paths.size() == 1)
      out["keyPath"] = paths[0];
    else
      out["keyPaths"] = std::move(paths);
    if (!change.identity.empty()) out["signedIdentity"] = json::object{{"type", change.identity}};
    return out;
  } else {
    return invalid("unknown type \"{}\": accept, reject, signedBy or sigstoreSigned", change.type);
  }
  if (!change.keys.empty() || !change.identity.empty())
    return invalid("--type {} takes no keys and no identity", change.type);
  return out;
}

}  // namespace

Result<std::string> find_passphrase(const std::string& file, Ask how) {
  if (!file.empty()) {
    std::string text = TRY(fs::read_file(file, 4096));
    return without_newline(std::move(text));
  }
  for (const char* name : {"GANTRY_KEY_PASSPHRASE", "COSIGN_PASSWORD"})
    if (const char* value = ::getenv(name)) return std::string(value);
  if (!is_terminal(STDIN_FILENO))
    return invalid(
        "no passphrase for the key: give --passphrase-file FILE or set GANTRY_KEY_PASSPHRASE");
  std::string text = TRY(ask_on_terminal("Passphrase of the key: "));
  if (how == Ask::twice) {
    std::string again = TRY(ask_on_terminal("The same once more: "));
    if (again != text) return invalid("the two passphrases differ");
  }
  return text;
}

Result<trust::PrivateKey> read_private_key(const std::string& path,
                                           const std::string& passphrase_file) {
  std::string pem = TRY(fs::read_file(path, kKeyLimit));
  return trust::PrivateKey::parse(pem, [&] { return find_passphrase(passphrase_file, Ask::once); })
      .context("key {}", path);
}

Status write_key_pair(const std::string& prefix, const trust::PrivateKey& key,
                      const std::string& passphrase) {
  std::string sealed = TRY(key.sealed_pem(passphrase));
  TRY(write_new(prefix + ".key", sealed, 0600));
  Status written = write_new(prefix + ".pub", key.public_key().pem(), 0644);
  if (!written) ::unlink((prefix + ".key").c_str());
  return written;
}

Status change_policy(const std::string& path, const PolicyChange& change) {
  json::object document;
  Result<std::string> text = fs::read_file(path, 4u << 20);
  if (text) {
    TRY(trust::Policy::parse(*text).context("policy {}", path));
    json::value parsed = TRY(json::parse(*text));
    document = parsed.get_object();
  } else if (text.error().kind() == ErrorKind::not_found) {
    document["default"] = json::array{json::object{{"type", "insecureAcceptAnything"}}};
  } else {
    return std::move(text).error();
  }
  json::array rule;
  if (!change.remove) {
    json::object requirement = TRY(requirement_of(change));
    rule.push_back(std::move(requirement));
  }
  const bool fallback = change.scope == "default" && change.transport == "docker";
  if (fallback) {
    if (change.remove) return invalid("the default cannot be removed: set it");
    document["default"] = std::move(rule);
  } else {
    if (!document.contains("transports")) document["transports"] = json::object{};
    json::object& transports = document["transports"].get_object();
    if (!transports.contains(change.transport)) transports[change.transport] = json::object{};
    json::object& scopes = transports[change.transport].get_object();
    if (change.remove) {
      if (scopes.erase(change.scope) == 0)
        return not_found("policy {}: there is no rule for {} \"{}\"", path, change.transport,
                         change.scope);
      if (scopes.empty()) transports.erase(change.transport);
    } else {
      scopes[change.scope] = std::move(rule);
    }
  }
  std::string out = json::pretty(document, "    ") + "\n";
  TRY(trust::Policy::parse(out));
  if (size_t slash = path.rfind('/'); slash != std::string::npos && slash > 0)
    TRY(fs::make_directories(path.substr(0, slash), 0755));
  return fs::replace_file(path, out, 0644, fs::Durability::synced);
}

}  // namespace gantry::client
