// Header fields, paths and files of outside bytes; the first byte says which.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "registry_server/auth.h"
#include "registry_server/content_digest.h"
#include "registry_server/ranges.h"
#include "registry_server/route.h"
#include "registry_server/upstream.h"

using namespace gantry::registry_server;

namespace {

void fuzz_ranges(std::string_view text) {
  for (uint64_t size : {uint64_t{0}, uint64_t{1}, uint64_t{1000}, UINT64_MAX}) {
    RangeRequest range = parse_range(text, size);
    if (range.kind == RangeKind::part &&
        (range.range.first > range.range.last || range.range.last >= size))
      std::abort();
  }
  auto content = parse_content_range(text);
  if (content && (content->first > content->last || content->size() == 0)) std::abort();
  (void)matches_etag(text, "\"sha256:x\"");
}

void fuzz_route(std::string_view text) {
  Route route = parse_route(text);
  if (check_repository(route.repository) &&
      (route.repository.starts_with('/') || route.repository.find("..") != std::string::npos ||
       route.repository.find("/_") != std::string::npos || route.repository.size() > 255))
    std::abort();
  if (is_tag(route.reference) && route.reference.find('/') != std::string::npos) std::abort();
  auto digest = ContentDigest::parse(route.reference);
  if (digest && *ContentDigest::from_key(digest->key()) != *digest) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  switch (data[0] % 7) {
    case 0:
      fuzz_ranges(text);
      break;
    case 1:
      fuzz_route(text);
      break;
    case 2:
      (void)Htpasswd::parse(text);
      break;
    case 3:
      if (auto rights = Rights::parse(text)) (void)rights->of("alice", "a/b");
      break;
    case 4:
      (void)parse_challenge(text);
      break;
    case 5:
      (void)parse_basic(text);
      (void)parse_scope(text);
      break;
    default:
      if (auto bytes = base64_url_decode_strict(text);
          bytes && base64_url_encode_unpadded(*bytes) != text)
        std::abort();
  }
  return 0;
}
