#include "registry_server/ranges.h"

#include <charconv>

namespace gantry::registry_server {
namespace {

std::string_view trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

}  // namespace

std::optional<uint64_t> parse_number(std::string_view text) {
  uint64_t value = 0;
  if (text.empty() || text.front() < '0' || text.front() > '9') return std::nullopt;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

RangeRequest parse_range(std::string_view value, uint64_t size) {
  value = trim(value);
  if (!value.starts_with("bytes=")) return {};
  std::string_view set = trim(value.substr(6));
  size_t dash = set.find('-');
  if (dash == std::string_view::npos || set.find(',') != std::string_view::npos) return {};
  std::string_view from = trim(set.substr(0, dash));
  std::string_view to = trim(set.substr(dash + 1));
  auto first = parse_number(from);
  auto last = parse_number(to);
  if (from.empty()) {  // the last so many bytes
    if (!last) return {};
    if (*last == 0 || size == 0) return {RangeKind::unsatisfiable, {}};
    return {RangeKind::part, {*last >= size ? 0 : size - *last, size - 1}};
  }
  if (!first || (!to.empty() && !last) || (last && *last < *first)) return {};
  if (*first >= size) return {RangeKind::unsatisfiable, {}};
  return {RangeKind::part, {*first, last && *last < size ? *last : size - 1}};
}

Result<ByteRange> parse_content_range(std::string_view value) {
  std::string_view text = trim(value);
  if (text.starts_with("bytes ") || text.starts_with("bytes=")) {
    text = trim(text.substr(6));
    text = text.substr(0, text.find('/'));
  }
  size_t dash = text.find('-');
  std::optional<uint64_t> first, last;
  if (dash != std::string_view::npos) {
    first = parse_number(text.substr(0, dash));
    last = parse_number(text.substr(dash + 1));
  }
  // The end of the whole range of numbers has no size.
  if (!first || !last || *last < *first || *last == UINT64_MAX)
    return invalid("Content-Range '{}' is not of the form <first>-<last>", value.substr(0, 100));
  return ByteRange{*first, *last};
}

bool matches_etag(std::string_view list, std::string_view etag) {
  while (!list.empty()) {
    size_t comma = list.find(',');
    std::string_view item = trim(list.substr(0, comma));
    list.remove_prefix(comma == std::string_view::npos ? list.size() : comma + 1);
    if (item == "*") return true;
    if (item.starts_with("W/")) item.remove_prefix(2);
    if (item == etag) return true;
    // Docker's registry gives and takes them without quotes.
    if (etag.size() > 2 && item == etag.substr(1, etag.size() - 2)) return true;
  }
  return false;
}

}  // namespace gantry::registry_server
