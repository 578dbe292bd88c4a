// URLs out of Location and realm fields: what is parsed and written again is the same.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "http/url.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view text(reinterpret_cast<const char*>(data), size);
  auto base = gantry::http::Url::parse("https://registry.example/v2/a/blobs/x?y=z");
  auto check = [](const gantry::Result<gantry::http::Url>& url) {
    if (!url) return;
    auto again = gantry::http::Url::parse(url->text());
    if (!again || again->text() != url->text()) abort();
    if (url->text().find_first_of("\r\n ") != std::string::npos) abort();
  };
  check(gantry::http::Url::parse(text));
  check(base->resolve(text));
  return 0;
}
