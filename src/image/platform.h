// Platforms as users write them and as indexes list them (image-spec image-index.md; the rules of
// containerd's platforms package).
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "image/manifest.h"

namespace gantry::image {

Platform host_platform();
// "linux/arm64/v8", "linux/arm", "arm64"; "" is the host's. Errors: invalid, in Docker's words.
Result<Platform> parse_platform(std::string_view text);
// Usual spellings made one: x86_64 → amd64, aarch64 → arm64, arm64/v8 → arm64, arm → arm/v7.
Platform normalized(Platform platform);
std::string to_string(const Platform& platform);
// Whether an image of `offered` is what `wanted` asks for.
bool matches(const Platform& wanted, const Platform& offered);
// The element of an index to take; null when none matches. Attestations are passed over.
const Descriptor* choose(const std::vector<Descriptor>& manifests, const Platform& wanted);

}  // namespace gantry::image
