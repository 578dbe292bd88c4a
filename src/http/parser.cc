#include "http/parser.h"

#include <boost/beast/http/basic_parser.hpp>
#include <boost/beast/http/error.hpp>

namespace gantry::http {

// What a parser has found; named, since Parser::Impl holds one.
struct ParserSink {
  MessageHead head;
  std::string* body = nullptr;
  bool head_done = false;
};

namespace {

namespace beast = boost::beast;

// Longest line of a chunk's size and extensions, and longest trailer section.
constexpr size_t kChunkHeaderLimit = 8u << 10;

// Collects what Beast's parser finds. One class for both directions: each calls its own start line
// only.
template <bool isRequest>
class Collector : public beast::http::basic_parser<isRequest> {
 public:
  explicit Collector(ParserSink& sink) : sink_(sink) {}

 private:
  using Code = beast::error_code;
  using View = beast::string_view;
  static std::string text(View view) { return std::string(view.data(), view.size()); }

  void on_request_impl(beast::http::verb, View method, View target, int version, Code&) override {
    sink_.head.method = text(method);
    sink_.head.target = text(target);
    sink_.head.version = version;
  }
  void on_response_impl(int status, View, int version, Code&) override {
    sink_.head.status = status;
    sink_.head.version = version;
  }
  void on_field_impl(beast::http::field, View name, View value, Code&) override {
    if (!sink_.head_done) sink_.head.headers.add(text(name), text(value));  // else a trailer
  }
  void on_header_impl(Code&) override { sink_.head_done = true; }
  void on_body_init_impl(const boost::optional<uint64_t>&, Code&) override {}
  size_t on_body_impl(View bytes, Code&) override { return take(bytes); }
  void on_chunk_header_impl(uint64_t, View, Code&) override {}
  size_t on_chunk_body_impl(uint64_t, View bytes, Code&) override { return take(bytes); }
  void on_finish_impl(Code&) override {}

  size_t take(View bytes) {
    sink_.body->append(bytes.data(), bytes.size());
    return bytes.size();
  }

  ParserSink& sink_;
};

int status_of(const beast::error_code& code) {
  if (code == beast::http::error::header_limit) return 431;
  if (code == beast::http::error::bad_version) return 505;
  return 400;
}

}  // namespace

struct Parser::Impl {
  ParserSink sink;
  size_t head_limit = 0;
  size_t head_size = 0;
  int error_status = 0;

  virtual ~Impl() = default;
  virtual size_t put(std::string_view data, beast::error_code& code) = 0;
  virtual void put_eof(beast::error_code& code) = 0;
  virtual bool started() const = 0;
  virtual bool done() const = 0;
  virtual void finish_head() = 0;

  Error fail(int status, std::string_view cause) {
    error_status = status;
    return invalid("malformed HTTP message: {}", cause);
  }
  // The head is complete: what Beast leaves to its caller.
  Status check_head() {
    finish_head();
    if (sink.head.headers.has("Transfer-Encoding") && !sink.head.chunked)
      return fail(501, "unsupported transfer coding");
    return {};
  }
};

namespace {

template <bool isRequest>
struct ParserOf : Parser::Impl {
  Collector<isRequest> parser{sink};

  size_t put(std::string_view data, beast::error_code& code) override {
    return parser.put(boost::asio::const_buffer(data.data(), data.size()), code);
  }
  void put_eof(beast::error_code& code) override { parser.put_eof(code); }
  bool started() const override { return parser.got_some(); }
  bool done() const override { return parser.is_done(); }
  void finish_head() override {
    sink.head.keep_alive = parser.keep_alive();
    sink.head.chunked = parser.chunked();
    if (auto length = parser.content_length()) sink.head.content_length = *length;
  }
};

template <bool isRequest>
std::unique_ptr<Parser::Impl> make(size_t head_limit, Parser::Body body) {
  auto impl = std::make_unique<ParserOf<isRequest>>();
  impl->head_limit = head_limit;
  impl->parser.header_limit(static_cast<uint32_t>(head_limit));
  impl->parser.body_limit(boost::none);
  impl->parser.skip(body == Parser::Body::none);
  return impl;
}

}  // namespace

Parser::Parser(Kind kind, size_t head_limit, Body body)
    : impl_(kind == Kind::request ? make<true>(head_limit, body) : make<false>(head_limit, body)) {}
Parser::~Parser() = default;
Parser::Parser(Parser&&) noexcept = default;
Parser& Parser::operator=(Parser&&) noexcept = default;

Result<size_t> Parser::put(std::string_view data, std::string& body) {
  Impl& impl = *impl_;
  if (impl.error_status != 0) return impl.fail(impl.error_status, "already refused");
  impl.sink.body = &body;
  size_t consumed = 0;
  while (consumed < data.size() && !impl.done()) {
    bool in_head = !impl.sink.head_done;
    beast::error_code code;
    size_t used = impl.put(data.substr(consumed), code);
    consumed += used;
    if (code && code != beast::http::error::need_more)
      return impl.fail(status_of(code), code.message());
    if (in_head) {
      // Beast applies its limit to what one call sees; fields consumed by earlier calls count here.
      impl.head_size += used;
      if (impl.head_size > impl.head_limit) return impl.fail(431, "header limit exceeded");
      if (impl.sink.head_done) {
        TRY(impl.check_head());
        return consumed;
      }
    } else if (code && data.size() - consumed > kChunkHeaderLimit) {
      return impl.fail(400, "chunk header too long");
    }
    if (code) break;  // need_more
  }
  return consumed;
}

Status Parser::put_eof() {
  beast::error_code code;
  if (!impl_->started()) return impl_->fail(400, "partial message");
  if (impl_->done()) return {};
  impl_->put_eof(code);
  if (code) return impl_->fail(400, code.message());
  return {};
}

bool Parser::started() const { return impl_->started(); }
bool Parser::head_done() const { return impl_->sink.head_done; }
bool Parser::done() const { return impl_->done(); }
MessageHead& Parser::head() { return impl_->sink.head; }
int Parser::error_status() const { return impl_->error_status; }

}  // namespace gantry::http
