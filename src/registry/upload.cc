// Sending blobs: monolithic where that does, in chunks that go on where a cut left off.
#include <algorithm>
#include <charconv>

#include "registry/errors.h"
#include "registry/repository.h"

namespace gantry::registry {
namespace {

constexpr int kUploadAttempts = 5;
// Of one PATCH: what a cut may cost, and a bound for servers that spool a request.
constexpr uint64_t kChunkSize = 64u << 20;

// How many bytes the registry has: one more than the end of "0-1023"; "0-0" may mean none.
bool parse_range(std::string_view text, uint64_t& have) {
  if (text.starts_with("bytes=")) text.remove_prefix(6);
  size_t dash = text.find('-');
  if (dash == text.npos) return false;
  uint64_t last = 0;
  auto [end, error] = std::from_chars(text.data() + dash + 1, text.data() + text.size(), last);
  if (error != std::errc()) return false;
  have = last == 0 ? 0 : last + 1;
  return true;
}

bool mendable(const Error& error) { return error.kind() == ErrorKind::unavailable; }

}  // namespace

// One upload. The source is read in order; when the registry has less than was sent it is opened
// again and what the registry has is skipped.
class Uploader {
 public:
  Uploader(Repository& repository, const Digest& expected, int64_t size,
           const image::BlobOpener& open, const std::function<void(int64_t)>& sent)
      : repository_(repository), expected_(expected), size_(size), open_(open), sent_(sent) {}

  Result<image::UploadedBlob> run() {
    TRY(begin());
    for (int attempt = 0;;) {
      uint64_t before = registry_has_;
      Status status = send_rest();
      if (status) return finish();
      if (registry_has_ > before) attempt = 0;
      if (!mendable(status.error()) || ++attempt >= kUploadAttempts)
        return std::move(status).error();
      Error again = std::move(status).error();
      bool wait = TRY(repository_.back_off(Error(ErrorKind::unavailable, again.message(), EAGAIN),
                                           attempt - 1, -1));
      if (!wait) return again;
      TRY(ask_where());
    }
  }

 private:
  Result<http::Agent::Response> expect(const Repository::Ask& ask,
                                       std::initializer_list<int> good) {
    http::Agent::Response response = TRY(repository_.ask(ask, Repository::Fall::never));
    if (std::find(good.begin(), good.end(), response.status) == good.end())
      return error_of(response);
    return response;
  }
  Status remember(const http::Agent::Response& response) {
    std::string_view location = response.headers.get("Location");
    if (location.empty())
      return location_.empty() ? Status(invalid("the registry names no upload")) : Status();
    http::Url url = TRY(response.url.resolve(location).context("upload"));
    location_ = url.text();
    return {};
  }
  Status begin() {
    Repository::Ask ask{.method = "POST", .path = repository_.below("blobs/uploads/")};
    http::Agent::Response response = TRY(repository_.ask(ask));
    if (response.status != 202) return error_of(response);
    location_.clear();
    registry_has_ = 0;
    return remember(response);
  }
  // After a cut: how much came. An upload that the registry forgot begins anew.
  Status ask_where() {
    Repository::Ask ask{.path = location_};
    Result<http::Agent::Response> response = repository_.ask(ask, Repository::Fall::never);
    if (!response) return std::move(response).error();
    source_.reset();
    if (response->status != 204 && response->status != 202 && response->status != 200)
      return begin();
    TRY(remember(*response));
    if (!parse_range(response->headers.get("Range"), registry_has_)) return begin();
    return {};
  }
  Status position() {
    if (source_ && read_ == registry_has_) return {};
    source_ = TRY(open_());
    hash_ = Sha256();
    read_ = 0;
    ended_ = false;
    std::string buffer(256u << 10, '\0');
    while (read_ < registry_has_) {
      size_t want = static_cast<size_t>(std::min<uint64_t>(buffer.size(), registry_has_ - read_));
      size_t got = TRY(source_->read({buffer.data(), want}));
      if (got == 0) return invalid("the registry says it has more than was sent");
      hash_.update({buffer.data(), got});
      read_ += got;
    }
    return {};
  }
  Status send_rest() {
    TRY(position());
    while (!ended_) {
      uint64_t begin = read_;
      auto left = std::make_shared<uint64_t>(kChunkSize);
      Repository::Ask ask{.method = "PATCH", .path = location_};
      ask.headers.add("Content-Type", "application/octet-stream");
      if (size_ >= 0) {
        *left = std::min<uint64_t>(kChunkSize, static_cast<uint64_t>(size_) - read_);
        if (*left == 0) {
          ended_ = true;
          break;
        }
        ask.body_size = *left;
        ask.headers.add("Content-Range", fmt::format("{}-{}", begin, begin + *left - 1));
      }
      ask.body_stream = [this, left](std::span<char> buffer) -> Result<size_t> {
        size_t want = static_cast<size_t>(std::min<uint64_t>(buffer.size(), *left));
        if (want == 0) return size_t{0};
        size_t got = TRY(source_->read(buffer.first(want)));
        if (got == 0) ended_ = true;
        hash_.update({buffer.data(), got});
        read_ += got;
        *left -= got;
        if (sent_) sent_(static_cast<int64_t>(read_));
        return got;
      };
      http::Agent::Response response = TRY(expect(ask, {202, 201, 204}));
      TRY(remember(response));
      registry_has_ = read_;
      if (size_ >= 0 && read_ == static_cast<uint64_t>(size_)) ended_ = true;
    }
    return {};
  }
  Result<image::UploadedBlob> finish() {
    image::UploadedBlob uploaded{hash_.finish(), static_cast<int64_t>(read_)};
    if (!expected_.empty() && uploaded.digest != expected_)
      return invalid("blob {}: what was to be sent has the digest {}", expected_.text(),
                     uploaded.digest.text());
    Repository::Ask ask{.method = "PUT", .path = location_};
    ask.path += (ask.path.find('?') == std::string::npos ? "?" : "&") + std::string("digest=") +
                http::percent_encode(uploaded.digest.text());
    Result<http::Agent::Response> done = expect(ask, {201, 204});
    if (done) return uploaded;
    // The answer may have been lost and not the request.
    bool there = TRY(repository_.has_blob(uploaded.digest));
    if (there) return uploaded;
    return std::move(done).error();
  }

  Repository& repository_;
  const Digest& expected_;
  const int64_t size_;
  const image::BlobOpener& open_;
  const std::function<void(int64_t)>& sent_;
  std::string location_;
  std::unique_ptr<ByteSource> source_;
  Sha256 hash_;
  uint64_t read_ = 0;          // of the source
  uint64_t registry_has_ = 0;  // acknowledged
  bool ended_ = false;
};

Result<image::UploadedBlob> Repository::upload(const Digest& expected, int64_t size,
                                               const image::BlobOpener& open,
                                               const std::function<void(int64_t)>& sent) {
  return Uploader(*this, expected, size, open, sent).run();
}

Result<bool> Repository::mount(const Digest& digest, const std::string& from_path) {
  Ask request{.method = "POST",
              .path = below("blobs/uploads/?mount=" + http::percent_encode(digest.text()) +
                            "&from=" + http::percent_encode(from_path))};
  request.extra_scopes = {"repository:" + from_path + ":pull"};
  http::Agent::Response response = TRY(ask(request));
  if (response.status == 201) return true;
  if (response.status == 202) {
    // An upload was begun instead; it is not wanted.
    Result<http::Url> url = response.url.resolve(response.headers.get("Location"));
    if (url) {
      Ask cancel{.method = "DELETE", .path = url->text()};
      (void)ask(cancel, Fall::never);
    }
    return false;
  }
  if (response.status == 404 || response.status == 401 || response.status == 403 ||
      response.status == 405)
    return false;
  return error_of(response);
}

}  // namespace gantry::registry
