// Base64 (RFC 4648), standard and URL-safe. Values, no I/O.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace gantry {

std::string base64_encode(std::string_view bytes);      // with '+', '/' and padding
std::string base64_url_encode(std::string_view bytes);  // with '-', '_' and padding
std::string base64_url_encode_unpadded(std::string_view bytes);
// Either alphabet, with or without padding. Errors: invalid.
Result<std::string> base64_decode(std::string_view text);
// One text for one value, where texts are compared or signed: with '+', '/' and whole padding or
// none, and with '-', '_' and no padding; bits that are left over are zero. Errors: invalid.
Result<std::string> base64_decode_strict(std::string_view text);
Result<std::string> base64_url_decode_strict(std::string_view text);

}  // namespace gantry
