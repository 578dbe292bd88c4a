#include "registry/blob_stream.h"

#include <charconv>

#include "registry/errors.h"

namespace gantry::registry {
namespace {

// The beginning and the whole length of "bytes 5-9/10"; the length is 0 when it is "*".
bool parse_content_range(std::string_view text, uint64_t& begin, uint64_t& whole) {
  if (!text.starts_with("bytes ")) return false;
  text.remove_prefix(6);
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), begin);
  if (error != std::errc()) return false;
  size_t slash = text.find('/');
  if (slash == text.npos) return false;
  whole = 0;
  text.remove_prefix(slash + 1);
  if (text != "*") (void)std::from_chars(text.data(), text.data() + text.size(), whole);
  return true;
}

}  // namespace

Error BlobStream::wrong(std::string_view what) const {
  return invalid("blob {}: {}", descriptor_.digest, what);
}

// A foreign layer is where its descriptor says; nobody's credentials go there.
Result<http::Agent::Response> BlobStream::request_elsewhere(Error error) {
  for (const std::string& text : descriptor_.urls) {
    Result<http::Url> url = http::Url::parse(text);
    if (!url) continue;
    http::Agent::Request request;
    request.url = url.release();
    if (at_ > 0) request.headers.add("Range", fmt::format("bytes={}-", at_));
    Result<http::Agent::Response> response =
        repository_.hosts_.agent().send(request, repository_.options_.cancel_fd);
    if (response && (response->status == 200 || response->status == 206)) return response;
    if (!response && response.error().kind() == ErrorKind::cancelled) return response;
  }
  return error;
}

Result<http::Agent::Response> BlobStream::request() {
  Repository::Ask ask{.path = repository_.below("blobs/" + descriptor_.digest)};
  if (at_ > 0) ask.headers.add("Range", fmt::format("bytes={}-", at_));
  Result<http::Agent::Response> response = repository_.ask(ask);
  if (!response) return request_elsewhere(std::move(response).error());
  if (response->status == 200 || response->status == 206) return response;
  return request_elsewhere(error_of(*response).context("blob " + descriptor_.digest));
}

Status BlobStream::accept(http::Agent::Response response) {
  const auto size = static_cast<uint64_t>(descriptor_.size);
  uint64_t skip = at_;
  if (response.status == 206) {
    uint64_t begin = 0;
    uint64_t whole = 0;
    bool told = parse_content_range(response.headers.get("Content-Range"), begin, whole);
    if (!told || begin != at_)
      return wrong("the registry sent another range than it was asked for");
    if (whole != 0 && whole != size)
      return wrong(fmt::format("the registry says it has {} bytes, the manifest {}", whole, size));
    skip = 0;
  } else if (response.content_length && *response.content_length != size) {
    return wrong(fmt::format("the registry says it has {} bytes, the manifest {}",
                             *response.content_length, size));
  }
  std::string buffer(64u << 10, '\0');
  while (skip > 0) {  // a registry that knows no ranges
    size_t want = static_cast<size_t>(std::min<uint64_t>(skip, buffer.size()));
    size_t got = TRY(response.read_some({buffer.data(), want}));
    if (got == 0) return Error(ErrorKind::unavailable, "unexpected EOF", ECONNRESET);
    skip -= got;
  }
  response_.emplace(std::move(response));
  return {};
}

Status BlobStream::open() {
  if (descriptor_.size < 0) return wrong("its size is negative");
  if (at_ >= static_cast<uint64_t>(descriptor_.size) && at_ > 0) return {};
  while (true) {
    Result<http::Agent::Response> response = request();
    if (!response) return std::move(response).error();
    Status accepted = accept(response.release());
    if (accepted) return {};
    bool again = TRY(repository_.back_off(accepted.error(), attempts_++, -1));
    if (!again) return accepted;
  }
}

Result<size_t> BlobStream::read(std::span<char> into) {
  const auto size = static_cast<uint64_t>(descriptor_.size);
  while (true) {
    if (at_ >= size && at_ > 0 && !response_) return size_t{0};
    Result<size_t> got = response_->read_some(into);
    if (got && *got > 0) {
      if (*got > size - at_)
        return wrong(fmt::format("it is longer than the {} bytes its manifest says", size));
      at_ += *got;
      attempts_ = 0;
      return got;
    }
    if (got && at_ == size) {
      response_.reset();  // the connection goes back
      if (size == 0) return size_t{0};
      continue;
    }
    Error error = got ? Error(ErrorKind::unavailable,
                              fmt::format("unexpected EOF: {} of {} bytes", at_, size), ECONNRESET)
                      : std::move(got).error();
    response_.reset();
    bool again = TRY(repository_.back_off(error, attempts_++, -1));
    if (!again) return std::move(error).context("blob " + descriptor_.digest);
    TRY(open());
  }
}

}  // namespace gantry::registry
