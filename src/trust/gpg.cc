#include "trust/gpg.h"

#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "base/base64.h"
#include "base/process.h"
#include "base/sys.h"

namespace gantry::trust {
namespace {

constexpr const char* kGpgv = "/usr/bin/gpgv";
constexpr uid_t kNobody = 65534;
constexpr int kTimeoutMs = 20'000;
constexpr size_t kContentLimit = 256u << 10;
constexpr size_t kStatusLimit = 64u << 10;
// What the helper ends with when it did not come as far as gpgv.
constexpr int kNotContained = 70;
constexpr int kNotStarted = 71;
constexpr int kKeyringFd = 3;
constexpr int kStatusFd = 4;

// An anonymous file with these bytes, at their beginning. Others may open it through /proc.
Result<UniqueFd> memory_file(const char* name, std::string_view bytes) {
  UniqueFd fd(::memfd_create(name, MFD_CLOEXEC));
  if (!fd) return error_from_errno(errno, "memfd_create");
  TRY(sys::write_all(fd.get(), bytes));
  if (::lseek(fd.get(), 0, SEEK_SET) == -1) return error_from_errno(errno, "lseek");
  return fd;
}

std::vector<std::string_view> words_of(std::string_view line) {
  std::vector<std::string_view> out;
  while (!line.empty()) {
    size_t space = std::min(line.find(' '), line.size());
    if (space > 0) out.push_back(line.substr(0, space));
    line.remove_prefix(std::min(space + 1, line.size()));
  }
  return out;
}

bool is_fingerprint(std::string_view text) {
  return text.size() == 40 && text.find_first_not_of("0123456789ABCDEF") == text.npos;
}

}  // namespace

Result<std::string> dearmor(std::string_view keys) {
  constexpr std::string_view kBegin = "-----BEGIN PGP PUBLIC KEY BLOCK-----";
  constexpr std::string_view kEnd = "-----END PGP PUBLIC KEY BLOCK-----";
  if (keys.find(kBegin) == keys.npos) return std::string(keys);
  std::string out;
  for (size_t at = keys.find(kBegin); at != keys.npos; at = keys.find(kBegin, at)) {
    size_t end = keys.find(kEnd, at);
    if (end == keys.npos) return invalid("the armour of a key does not end");
    std::string_view block = keys.substr(at + kBegin.size(), end - at - kBegin.size());
    at = end + kEnd.size();
    // Headers ("Comment: …") end at an empty line; a line that begins with '=' is a check sum.
    std::string body;
    bool in_body = false;
    while (!block.empty()) {
      size_t newline = std::min(block.find('\n'), block.size());
      std::string_view line = block.substr(0, newline);
      block.remove_prefix(std::min(newline + 1, block.size()));
      while (!line.empty() && isspace(static_cast<unsigned char>(line.back())))
        line.remove_suffix(1);
      if (line.find(": ") != line.npos && !in_body) continue;
      if (line.empty()) continue;
      if (line.front() == '=') break;
      in_body = true;
      body += line;
    }
    std::string bytes = TRY(base64_decode(body).context("armour of a key"));
    out += bytes;
  }
  return out;
}

Result<OpenPgpMessage> read_gpgv_status(std::string_view status, std::string content) {
  // One signature over one text, by a key that is good now; anything else is refused.
  constexpr std::string_view kBad[] = {"BADSIG",    "ERRSIG",    "EXPSIG", "EXPKEYSIG",
                                       "REVKEYSIG", "NO_PUBKEY", "NODATA", "UNEXPECTED"};
  OpenPgpMessage out;
  int signatures = 0, good = 0, valid = 0, texts = 0;
  std::string bad;
  while (!status.empty()) {
    size_t newline = std::min(status.find('\n'), status.size());
    std::vector<std::string_view> words = words_of(status.substr(0, newline));
    status.remove_prefix(std::min(newline + 1, status.size()));
    if (words.size() < 2 || words[0] != "[GNUPG:]") continue;
    std::string_view what = words[1];
    if (std::find(std::begin(kBad), std::end(kBad), what) != std::end(kBad) && bad.empty())
      bad = fmt::format("{} {}", what, words.size() > 2 ? words[2] : "");
    signatures += what == "NEWSIG";
    good += what == "GOODSIG";
    texts += what == "PLAINTEXT";
    if (what != "VALIDSIG") continue;
    ++valid;
    if (words.size() < 3 || !is_fingerprint(words[2])) return internal("gpgv: {}", what);
    out.fingerprint = is_fingerprint(words.back()) ? words.back() : words[2];
  }
  auto refuse = [](std::string_view why) {
    return Error(ErrorKind::permission, fmt::format("the GPG signature is not good: {}", why));
  };
  if (bad.starts_with("NO_PUBKEY") || bad.starts_with("ERRSIG"))
    return refuse(fmt::format("it was made by another key, {}", bad.substr(bad.find(' ') + 1)));
  if (bad.starts_with("BADSIG")) return refuse("what was signed has been changed");
  if (bad.starts_with("EXP") || bad.starts_with("REV"))
    return refuse("the signature or its key has expired or was revoked");
  if (!bad.empty()) return refuse("it is no signed message");
  if (signatures != 1 || good != 1 || valid != 1 || texts != 1)
    return refuse("it has not just one signature over one text");
  out.content = std::move(content);
  return out;
}

Result<OpenPgpMessage> verify_openpgp(const std::string& helper,
                                      const std::vector<std::string>& keys,
                                      std::string_view message) {
  if (::access(kGpgv, X_OK) != 0)
    return Error(ErrorKind::unavailable,
                 fmt::format("GPG signatures are verified by {}, which is not there: install the "
                             "package gpgv",
                             kGpgv));
  std::string ring;
  for (const std::string& key : keys) {
    std::string bytes = TRY(dearmor(key));
    ring += bytes;
  }
  UniqueFd keyring = TRY(memory_file("keyring", ring));
  UniqueFd status = TRY(memory_file("status", ""));
  SpawnOptions options;
  options.program = helper;
  options.arguments = {"gantryd", kGpgHelper};
  options.environment = std::vector<std::string>{"LC_ALL=C", "PATH=/usr/bin:/bin"};
  options.working_directory = "/";
  options.descriptors = {{keyring.get(), kKeyringFd}, {status.get(), kStatusFd}};
  ProcessOutput ran =
      TRY(run_process(std::move(options), message, kTimeoutMs, kContentLimit).context("gpgv"));
  const int code = WIFEXITED(ran.status) ? WEXITSTATUS(ran.status) : -1;
  if (code == kNotContained || code == kNotStarted) {
    std::replace(ran.err.begin(), ran.err.end(), '\n', ' ');
    return Error(ErrorKind::unavailable, "GPG signatures cannot be verified: " + ran.err);
  }
  if (::lseek(status.get(), 0, SEEK_SET) == -1) return error_from_errno(errno, "lseek");
  std::string said = TRY(sys::read_all(status.get(), kStatusLimit));
  OpenPgpMessage out = TRY(read_gpgv_status(said, std::move(ran.out)));
  if (code != 0) return Error(ErrorKind::permission, "the GPG signature is not good: gpgv failed");
  return out;
}

namespace {

void limit(int resource, rlim_t value) {
  rlimit both{value, value};
  (void)::setrlimit(static_cast<__rlimit_resource>(resource), &both);
}

}  // namespace

int run_gpg_helper() {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  limit(RLIMIT_AS, 256u << 20);
  limit(RLIMIT_CPU, 10);
  limit(RLIMIT_FSIZE, 256u << 10);
  limit(RLIMIT_NOFILE, 32);
  limit(RLIMIT_CORE, 0);
  // What it has open is all that it gets: no network, no rights, no way to more of them.
  bool contained = (::geteuid() != 0 ||
                    (::unshare(CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS) == 0 &&
                     ::setgroups(0, nullptr) == 0 && ::setresgid(kNobody, kNobody, kNobody) == 0 &&
                     ::setresuid(kNobody, kNobody, kNobody) == 0)) &&
                   ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0;
  if (!contained) {
    fmt::print(stderr, "gpgv: {}\n", std::strerror(errno));
    return kNotContained;
  }
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);  // a change of the user has undone it
  const char* arguments[] = {"gpgv",        "--quiet", "--homedir", "/nonexistent",
                             "--status-fd", "4",       "--keyring", "/proc/self/fd/3",
                             "--output",    "-",       "-",         nullptr};
  ::execv(kGpgv, const_cast<char**>(arguments));
  fmt::print(stderr, "gpgv: {}\n", std::strerror(errno));
  return kNotStarted;
}

}  // namespace gantry::trust
