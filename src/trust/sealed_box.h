// What cosign keeps private keys in (secure-systems-lab/go-securesystemslib, "encrypted"): JSON
// that names scrypt's parameters and holds a NaCl secretbox (XSalsa20 and Poly1305).
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace gantry::trust {

// Cost of scrypt: what cosign uses today, and used once; the third is what it takes as well.
enum class ScryptCost { standard = 65536, legacy = 32768, high = 131072 };

Result<std::string> seal(std::string_view plain, std::string_view passphrase,
                         ScryptCost cost = ScryptCost::standard);
// Errors: permission for a wrong passphrase (or a box that was changed), invalid for another form.
Result<std::string> unseal(std::string_view box, std::string_view passphrase);

}  // namespace gantry::trust
