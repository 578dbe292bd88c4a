// The bytes of one blob as they come, going on by Range after a cut. Internal to the room.
#pragma once

#include "registry/repository.h"

namespace gantry::registry {

class BlobStream final : public ByteSource {
 public:
  BlobStream(Repository& repository, image::Descriptor descriptor, uint64_t offset)
      : repository_(repository), descriptor_(std::move(descriptor)), at_(offset) {}
  Status open();
  Result<size_t> read(std::span<char> into) override;

 private:
  Result<http::Agent::Response> request();
  Result<http::Agent::Response> request_elsewhere(Error error);
  Status accept(http::Agent::Response response);
  Error wrong(std::string_view what) const;

  Repository& repository_;
  const image::Descriptor descriptor_;
  uint64_t at_;       // of the blob, what is read next
  int attempts_ = 0;  // since a byte came
  std::optional<http::Agent::Response> response_;
};

}  // namespace gantry::registry
