#include "image/reference.h"

#include <algorithm>

namespace gantry::image {
namespace {

constexpr std::string_view kDefaultDomain = "docker.io";
constexpr std::string_view kLegacyDomain = "index.docker.io";
constexpr std::string_view kOfficial = "library/";
constexpr size_t kMaxName = 255;

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_lower(char c) { return c >= 'a' && c <= 'z'; }
bool is_letter(char c) { return is_lower(c) || (c >= 'A' && c <= 'Z'); }
bool is_hex(char c) { return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); }
bool is_lower_hex(char c) { return is_digit(c) || (c >= 'a' && c <= 'f'); }

std::string to_lower(std::string_view text) {
  std::string out(text);
  for (char& c : out)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return out;
}

// Calls `valid` for each part between separators; false when one is not.
template <typename Valid>
bool all_parts(std::string_view text, char separator, Valid valid) {
  for (;;) {
    size_t end = text.find(separator);
    if (!valid(text.substr(0, end))) return false;
    if (end == std::string_view::npos) return true;
    text.remove_prefix(end + 1);
  }
}

// [a-z0-9]+ joined by ".", "_", "__" or any number of "-".
bool is_path_component(std::string_view text) {
  if (text.empty()) return false;
  size_t at = 0;
  auto alphanumeric = [&] {
    size_t start = at;
    while (at < text.size() && (is_lower(text[at]) || is_digit(text[at]))) ++at;
    return at > start;
  };
  if (!alphanumeric()) return false;
  while (at < text.size()) {
    if (text[at] == '-') {
      while (at < text.size() && text[at] == '-') ++at;
    } else if (text.substr(at, 2) == "__") {
      at += 2;
    } else if (text[at] == '.' || text[at] == '_') {
      ++at;
    } else {
      return false;
    }
    if (!alphanumeric()) return false;
  }
  return true;
}

bool is_domain(std::string_view text) {
  if (text.starts_with('[')) {
    size_t end = text.find(']');
    if (end == std::string_view::npos || end == 1) return false;
    std::string_view address = text.substr(1, end - 1);
    if (!std::all_of(address.begin(), address.end(), [](char c) { return is_hex(c) || c == ':'; }))
      return false;
    text.remove_prefix(end + 1);
    if (text.empty()) return true;
    if (text.front() != ':') return false;
  }
  size_t colon = text.find(':');
  if (colon != std::string_view::npos) {
    std::string_view port = text.substr(colon + 1);
    if (port.empty() || !std::all_of(port.begin(), port.end(), is_digit)) return false;
    text = text.substr(0, colon);
    if (text.empty()) return true;  // after an address in brackets
  }
  return all_parts(text, '.', [](std::string_view part) {
    auto inner = [](char c) { return is_letter(c) || is_digit(c) || c == '-'; };
    return !part.empty() && part.front() != '-' && part.back() != '-' &&
           std::all_of(part.begin(), part.end(), inner);
  });
}

// algorithm ":" 32 or more hexadecimal digits; the algorithm is words joined by one of "-_+.".
bool is_digest_like(std::string_view text) {
  size_t colon = text.find(':');
  if (colon == std::string_view::npos) return false;
  std::string_view algorithm = text.substr(0, colon);
  std::string_view hex = text.substr(colon + 1);
  if (hex.size() < 32 || !std::all_of(hex.begin(), hex.end(), is_hex)) return false;
  bool at_start = true;
  for (char c : algorithm) {
    bool separator = c == '-' || c == '_' || c == '+' || c == '.';
    if (at_start ? !is_letter(c) : !(is_letter(c) || is_digit(c) || separator)) return false;
    at_start = separator;
  }
  return !algorithm.empty() && !at_start;
}

Status check_digest(std::string_view digest) {
  std::string_view algorithm = digest.substr(0, digest.find(':'));
  std::string_view hex = digest.substr(algorithm.size() + 1);
  size_t length = algorithm == "sha256"   ? 64
                  : algorithm == "sha384" ? 96
                  : algorithm == "sha512" ? 128
                                          : 0;
  if (length == 0) return invalid("unsupported digest algorithm");
  if (hex.size() != length) return invalid("invalid checksum digest length");
  if (!std::all_of(hex.begin(), hex.end(), is_lower_hex))
    return invalid("invalid checksum digest format");
  return {};
}

struct Parts {
  std::string_view domain;
  std::string_view path;
  std::string_view tag;
  std::string_view digest;
};

// `text` begins with a domain. False when it does not have the form of a reference.
bool split_reference(std::string_view text, Parts& out) {
  size_t at = text.find('@');
  if (at != std::string_view::npos) {
    out.digest = text.substr(at + 1);
    if (!is_digest_like(out.digest)) return false;
    text = text.substr(0, at);
  }
  size_t slash = text.find('/');
  out.domain = text.substr(0, slash);
  out.path = text.substr(slash + 1);
  size_t colon =
      out.path.find(':', out.path.rfind('/') == std::string_view::npos ? 0 : out.path.rfind('/'));
  if (colon != std::string_view::npos) {
    out.tag = out.path.substr(colon + 1);
    if (!check_tag(out.tag)) return false;
    out.path = out.path.substr(0, colon);
  }
  return is_domain(out.domain) && all_parts(out.path, '/', is_path_component);
}

}  // namespace

Status check_tag(std::string_view tag) {
  auto word = [](char c) { return is_letter(c) || is_digit(c) || c == '_'; };
  bool good =
      !tag.empty() && tag.size() <= 128 && word(tag.front()) &&
      std::all_of(tag.begin(), tag.end(), [&](char c) { return word(c) || c == '.' || c == '-'; });
  if (!good) return invalid("invalid tag format");
  return {};
}

bool is_id_prefix(std::string_view text) {
  if (text.starts_with("sha256:")) text.remove_prefix(7);
  return !text.empty() && text.size() <= 64 && std::all_of(text.begin(), text.end(), is_lower_hex);
}

Result<Reference> Reference::parse(std::string_view text) {
  if (text.size() == 64 && std::all_of(text.begin(), text.end(), is_lower_hex))
    return invalid("invalid repository name ({}), cannot specify 64-byte hexadecimal strings",
                   text);
  std::string domain(kDefaultDomain);
  std::string remainder(text);
  size_t slash = text.find('/');
  if (slash != std::string_view::npos) {
    std::string_view first = text.substr(0, slash);
    if (first == kLegacyDomain) {
      remainder = text.substr(slash + 1);
    } else if (first == "localhost" || first.find_first_of(".:") != std::string_view::npos ||
               to_lower(first) != first) {
      domain = first;
      remainder = text.substr(slash + 1);
    }
  }
  if (domain == kDefaultDomain && remainder.find('/') == std::string::npos)
    remainder = std::string(kOfficial) + remainder;
  std::string remote = remainder.substr(0, remainder.find(':'));
  if (to_lower(remote) != remote)
    return invalid("invalid reference format: repository name ({}) must be lowercase", remote);
  std::string whole = domain + "/" + remainder;
  Parts parts;
  if (!split_reference(whole, parts)) return invalid("invalid reference format");
  if (parts.path.size() > kMaxName)
    return invalid("repository name must not be more than {} characters", kMaxName);
  if (!parts.digest.empty()) TRY(check_digest(parts.digest));
  Reference reference;
  reference.domain_ = parts.domain;
  reference.path_ = parts.path;
  reference.tag_ = parts.tag;
  reference.digest_ = parts.digest;
  return reference;
}

std::string Reference::text() const {
  return name() + (tag_.empty() ? "" : ":" + tag_) + (digest_.empty() ? "" : "@" + digest_);
}

std::string Reference::familiar_name() const {
  if (domain_ != kDefaultDomain) return name();
  std::string_view path = path_;
  // "library/a/b" keeps its prefix: only "a" is looked up there.
  if (path.starts_with(kOfficial) && path.find('/', kOfficial.size()) == std::string_view::npos)
    path.remove_prefix(kOfficial.size());
  return std::string(path);
}

std::string Reference::familiar() const {
  return familiar_name() + (tag_.empty() ? "" : ":" + tag_) +
         (digest_.empty() ? "" : "@" + digest_);
}

Reference Reference::with_tag(std::string tag) const {
  Reference out = *this;
  out.tag_ = std::move(tag);
  return out;
}

Reference Reference::with_digest(std::string digest) const {
  Reference out = *this;
  out.tag_.clear();
  out.digest_ = std::move(digest);
  return out;
}

Reference Reference::without_digest() const {
  Reference out = *this;
  out.digest_.clear();
  return out;
}

Reference Reference::with_default_tag() const { return name_only() ? with_tag("latest") : *this; }

}  // namespace gantry::image
