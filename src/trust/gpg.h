// OpenPGP signatures as `gpg --sign` makes them, checked by gpgv in a process of its own, that has
// no rights, no network and little time. Blocking; thread-safe.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace gantry::trust {

struct OpenPgpMessage {
  std::string content;      // what was signed
  std::string fingerprint;  // of the key that signed: the primary one, 40 hexadecimal digits
};

// `helper` is the program that was built with run_gpg_helper() (gantryd itself). `keys` are key
// files as gpg exports them, armoured or not. Errors: permission when the signature is not good
// (the reason is gpgv's); unavailable when there is no gpgv.
Result<OpenPgpMessage> verify_openpgp(const std::string& helper,
                                      const std::vector<std::string>& keys,
                                      std::string_view message);

// Takes armour off. Errors: invalid.
Result<std::string> dearmor(std::string_view keys);

// What gpgv said on its status descriptor, made of the one good signature that there must be.
Result<OpenPgpMessage> read_gpgv_status(std::string_view status, std::string content);

// The helper: gives up every right, then becomes gpgv. Returns an exit status when it cannot.
inline constexpr const char* kGpgHelper = "gpgv-helper";
int run_gpg_helper();

}  // namespace gantry::trust
