#include "http/message.h"

#include <algorithm>
#include <array>

namespace gantry::http {
namespace {

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  c = lower(c);
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

std::string_view trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

// Cuts the part before `separator` off the front of `text`; the whole of it when there is none.
std::string_view cut(std::string_view& text, char separator) {
  size_t at = std::min(text.find(separator), text.size());
  std::string_view part = text.substr(0, at);
  text.remove_prefix(std::min(at + 1, text.size()));
  return part;
}

struct Word {
  int status;
  std::string_view text;
};
// RFC 9110 section 15, and 431 of RFC 6585.
constexpr Word kReasons[] = {
    {100, "Continue"},
    {101, "Switching Protocols"},
    {200, "OK"},
    {201, "Created"},
    {202, "Accepted"},
    {204, "No Content"},
    {206, "Partial Content"},
    {301, "Moved Permanently"},
    {302, "Found"},
    {304, "Not Modified"},
    {307, "Temporary Redirect"},
    {308, "Permanent Redirect"},
    {400, "Bad Request"},
    {401, "Unauthorized"},
    {403, "Forbidden"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {406, "Not Acceptable"},
    {408, "Request Timeout"},
    {409, "Conflict"},
    {411, "Length Required"},
    {413, "Content Too Large"},
    {415, "Unsupported Media Type"},
    {416, "Range Not Satisfiable"},
    {417, "Expectation Failed"},
    {429, "Too Many Requests"},
    {431, "Request Header Fields Too Large"},
    {500, "Internal Server Error"},
    {501, "Not Implemented"},
    {502, "Bad Gateway"},
    {503, "Service Unavailable"},
    {504, "Gateway Timeout"},
    {505, "HTTP Version Not Supported"},
};

}  // namespace

bool equal_no_case(std::string_view a, std::string_view b) {
  return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin(),
                                            [](char x, char y) { return lower(x) == lower(y); });
}

std::string_view Headers::get(std::string_view name) const {
  for (const Field& field : fields_)
    if (equal_no_case(field.first, name)) return field.second;
  return {};
}

bool Headers::has(std::string_view name) const {
  return std::any_of(fields_.begin(), fields_.end(),
                     [&](const Field& field) { return equal_no_case(field.first, name); });
}

bool Headers::has_token(std::string_view name, std::string_view token) const {
  for (const Field& field : fields_) {
    if (!equal_no_case(field.first, name)) continue;
    std::string_view rest = field.second;
    while (!rest.empty())
      if (equal_no_case(trim(cut(rest, ',')), token)) return true;
  }
  return false;
}

void Headers::add(std::string name, std::string value) {
  fields_.emplace_back(std::move(name), std::move(value));
}

void Headers::set(std::string name, std::string value) {
  remove(name);
  add(std::move(name), std::move(value));
}

void Headers::remove(std::string_view name) {
  std::erase_if(fields_, [&](const Field& field) { return equal_no_case(field.first, name); });
}

Query Query::parse(std::string_view text) {
  Query query;
  while (!text.empty()) {
    std::string_view pair = cut(text, '&');
    if (pair.empty() || pair.find(';') != std::string_view::npos) continue;
    std::string_view name = cut(pair, '=');
    auto decoded_name = percent_decode(name, Plus::space);
    auto decoded_value = percent_decode(pair, Plus::space);
    if (decoded_name && decoded_value)
      query.items_.emplace_back(decoded_name.release(), decoded_value.release());
  }
  return query;
}

std::string_view Query::get(std::string_view name) const {
  for (const Item& item : items_)
    if (item.first == name) return item.second;
  return {};
}

bool Query::has(std::string_view name) const {
  return std::any_of(items_.begin(), items_.end(),
                     [&](const Item& item) { return item.first == name; });
}

std::vector<std::string> Query::all(std::string_view name) const {
  std::vector<std::string> values;
  for (const Item& item : items_)
    if (item.first == name) values.push_back(item.second);
  return values;
}

bool Query::flag(std::string_view name) const {
  std::string_view text = trim(get(name));
  constexpr std::array<std::string_view, 5> kFalse = {"", "0", "no", "false", "none"};
  return std::none_of(kFalse.begin(), kFalse.end(),
                      [&](std::string_view word) { return equal_no_case(text, word); });
}

Result<Target> parse_target(std::string_view target) {
  std::string_view rest = target;
  if (size_t scheme = rest.find("://"); scheme != std::string_view::npos && rest.front() != '/') {
    rest.remove_prefix(scheme + 3);
    size_t slash = rest.find_first_of("/?");
    rest = slash == std::string_view::npos ? std::string_view("/") : rest.substr(slash);
  }
  std::string_view path = cut(rest, '?');
  if (path.empty() || path.front() != '/') return invalid("malformed request target");
  Target out;
  out.path = TRY(percent_decode(path));
  if (out.path.find('\0') != std::string::npos) return invalid("malformed request target");
  out.query = rest;
  return out;
}

Result<std::string> percent_decode(std::string_view text, Plus plus) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%') {
      int high = i + 2 < text.size() ? hex_digit(text[i + 1]) : -1;
      int low = i + 2 < text.size() ? hex_digit(text[i + 2]) : -1;
      if (high < 0 || low < 0) return invalid("invalid URL escape \"{}\"", text.substr(i, 3));
      out.push_back(static_cast<char>(high * 16 + low));
      i += 2;
    } else {
      out.push_back(text[i] == '+' && plus == Plus::space ? ' ' : text[i]);
    }
  }
  return out;
}

std::string percent_encode(std::string_view text) {
  constexpr std::string_view kHex = "0123456789ABCDEF";
  constexpr std::string_view kPlain = "-._~";
  std::string out;
  out.reserve(text.size());
  for (char c : text) {
    bool plain = (c >= '0' && c <= '9') || (lower(c) >= 'a' && lower(c) <= 'z') ||
                 kPlain.find(c) != std::string_view::npos;
    if (plain) {
      out.push_back(c);
    } else {
      auto byte = static_cast<unsigned char>(c);
      out.append({'%', kHex[byte >> 4], kHex[byte & 15]});
    }
  }
  return out;
}

std::string_view reason(int status) {
  for (const Word& word : kReasons)
    if (word.status == status) return word.text;
  return {};
}

}  // namespace gantry::http
