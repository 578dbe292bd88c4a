// Any text as a token: nothing but what the key signed may be accepted, and this key signs nothing.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "registry_server/jwt.h"

using namespace gantry::registry_server;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const KeySet* keys = [] {
    auto* set = new KeySet;
    auto key = make_key();
    set->add_key(*public_part(*key), "k");
    return set;
  }();
  std::string_view text(reinterpret_cast<const char*>(data), size);
  if (verify_token(text, *keys, {"i", "s", 1000})) std::abort();
  KeySet other;
  (void)other.add(text);
  (void)other.add_roots(text);
  // As header and claims of a token that has the right form.
  std::string_view header = text.substr(0, size / 2), claims = text.substr(size / 2);
  std::string token = base64_url_encode_unpadded(header) + "." +
                      base64_url_encode_unpadded(claims) + "." +
                      base64_url_encode_unpadded(std::string(64, 'x'));
  if (verify_token(token, *keys, {"i", "s", 1000})) std::abort();
  return 0;
}
