// HTTP/1.x messages from bytes: fed with what a socket gave, gives the head and then the body. No
// I/O.
//
// The framing is strict where leniency lets two readers disagree about where a message ends: a
// message with both Content-Length and Transfer-Encoding, with differing lengths, or with a
// transfer coding other than chunked is refused. Memory is bounded by the head's limit plus what
// one call is given.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "http/message.h"

namespace gantry::http {

struct MessageHead {
  std::string method;  // requests
  std::string target;  // requests
  int status = 0;      // responses
  int version = 11;    // 10 or 11
  Headers headers;
  bool keep_alive = false;
  std::optional<uint64_t> content_length;
  bool chunked = false;
};

class Parser {
 public:
  enum class Kind { request, response };
  struct Impl;

  enum class Body { expected, none };  // none: the answer to HEAD
  Parser(Kind kind, size_t head_limit, Body body = Body::expected);
  ~Parser();
  Parser(Parser&&) noexcept;
  Parser& operator=(Parser&&) noexcept;

  // Consumes a prefix of `data` and returns its length; what is left must be given again with what
  // comes after it. Returns at the end of the head, so that the caller can look at it, and at the
  // end of the message; in between, bytes of the body are appended to `body`. Errors: invalid; the
  // parser is dead then and error_status() tells how a server answers.
  Result<size_t> put(std::string_view data, std::string& body);
  // The peer sends no more: ends a body that goes to the end of the connection, else is an error.
  Status put_eof();

  bool started() const;  // some byte was consumed
  bool head_done() const;
  bool done() const;
  MessageHead& head();       // complete when head_done()
  int error_status() const;  // 400, 431, 501 or 505

 private:
  std::unique_ptr<Impl> impl_;
};

}  // namespace gantry::http
