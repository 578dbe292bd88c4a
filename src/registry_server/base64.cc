#include <array>

#include "registry_server/jwt.h"

namespace gantry::registry_server {
namespace {

constexpr std::string_view kUrl =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
constexpr std::string_view kPlain =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

constexpr std::array<int8_t, 256> inverse(std::string_view alphabet) {
  std::array<int8_t, 256> out{};
  for (auto& one : out) one = -1;
  for (size_t i = 0; i < alphabet.size(); ++i)
    out[static_cast<unsigned char>(alphabet[i])] = static_cast<int8_t>(i);
  return out;
}
constexpr auto kFromUrl = inverse(kUrl);
constexpr auto kFromPlain = inverse(kPlain);

Result<std::string> decode(std::string_view text, const std::array<int8_t, 256>& from) {
  std::string out;
  out.reserve(text.size() / 4 * 3 + 3);
  uint32_t bits = 0;
  int count = 0;
  for (char c : text) {
    int value = from[static_cast<unsigned char>(c)];
    if (value < 0) return invalid("it is not base64");
    bits = bits << 6 | static_cast<uint32_t>(value);
    count += 6;
    if (count < 8) continue;
    count -= 8;
    out += static_cast<char>(bits >> count & 0xff);
  }
  // One digit left over is no byte, and bits left over must be zero: else two texts mean the same.
  if (count == 6 || (bits & ((1u << count) - 1)) != 0) return invalid("it is not base64");
  return out;
}

}  // namespace

Result<std::string> base64url_decode(std::string_view text) { return decode(text, kFromUrl); }

Result<std::string> base64_decode(std::string_view text) {
  size_t padding = 0;
  while (padding < 2 && !text.empty() && text.back() == '=') {
    text.remove_suffix(1);
    ++padding;
  }
  if (padding != 0 && (text.size() + padding) % 4 != 0) return invalid("it is not base64");
  return decode(text, kFromPlain);
}

std::string base64url_encode(std::string_view bytes) {
  std::string out;
  uint32_t bits = 0;
  int count = 0;
  for (char c : bytes) {
    bits = bits << 8 | static_cast<unsigned char>(c);
    count += 8;
    while (count >= 6) {
      count -= 6;
      out += kUrl[bits >> count & 63];
    }
  }
  if (count > 0) out += kUrl[bits << (6 - count) & 63];
  return out;
}

}  // namespace gantry::registry_server
