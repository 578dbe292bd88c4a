#include "http/response_head.h"

#include <time.h>

#include <algorithm>

#include <fmt/core.h>

namespace gantry::http {
namespace {

// RFC 9110, 5.6.7. Formatted once a second; for the I/O thread, and right on any.
std::string date() {
  thread_local time_t last = 0;
  thread_local std::string text;
  time_t now = ::time(nullptr);
  if (now == last) return text;
  tm parts{};
  ::gmtime_r(&now, &parts);
  char buffer[64];
  text.assign(buffer, ::strftime(buffer, sizeof buffer, "%a, %d %b %Y %H:%M:%S GMT", &parts));
  last = now;
  return text;
}

void append_clean(std::string& out, std::string_view text) {
  size_t start = out.size();
  out.append(text);
  std::replace_if(
      out.begin() + static_cast<std::ptrdiff_t>(start), out.end(),
      [](char c) { return c == '\r' || c == '\n' || c == '\0'; }, ' ');
}

}  // namespace

std::string response_head(int version, int status, const Headers& headers, BodyFraming framing,
                          uint64_t length) {
  std::string out =
      fmt::format("HTTP/{}.{} {} {}\r\n", version / 10, version % 10, status, reason(status));
  for (const auto& [name, value] : headers.fields()) {
    append_clean(out, name);
    out += ": ";
    append_clean(out, value);
    out += "\r\n";
  }
  out.append("Date: ").append(date()).append("\r\n");
  if (framing == BodyFraming::length) out += fmt::format("Content-Length: {}\r\n", length);
  if (framing == BodyFraming::chunked) out += "Transfer-Encoding: chunked\r\n";
  return out += "\r\n";
}

}  // namespace gantry::http
