// DNS messages: read with bounds, written plainly. Pure functions of bytes; total on any input.
//
// Names are text in lower case without the last dot ("web.example"; the root is ""); a dot, a
// backslash or an unprintable byte inside a label is escaped as in RFC 1035 5.1, so that it is
// never taken for the dot between two labels. Sources: RFC 1035, 2181, 3596, 6891, 7766.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "drivers/network/ip_address.h"

namespace gantry::drivers::dns {

inline constexpr size_t kHeaderSize = 12;
inline constexpr size_t kPlainLimit = 512;     // of an answer over UDP to who knows no EDNS
inline constexpr size_t kLargest = 65535;      // of any message
inline constexpr uint16_t kOwnUdpSize = 1232;  // what we tell in our own OPT records

namespace type {
inline constexpr uint16_t kA = 1, kCname = 5, kPtr = 12, kMx = 15, kAaaa = 28, kOpt = 41,
                          kAny = 255;
}
inline constexpr uint16_t kClassIn = 1, kClassAny = 255;

enum class Rcode : uint8_t {
  no_error = 0,
  format_error = 1,
  server_failure = 2,
  name_error = 3,  // NXDOMAIN
  not_implemented = 4,
  refused = 5,
  bad_version = 16,  // EDNS
};

enum class Section : uint8_t { answer, authority, additional };

struct Record {
  Section section = Section::answer;
  size_t begin = 0;  // of its name in the message
  uint16_t type = 0, klass = 0;
  uint32_t ttl = 0;
  size_t data = 0, end = 0;  // its data is [data, end)
};

// A message that was read; offsets are into its bytes, which it does not keep.
struct Message {
  uint16_t id = 0;
  bool response = false, truncated = false, recursion_desired = false, checking_disabled = false;
  uint8_t opcode = 0;
  uint8_t rcode = 0;  // the header's four bits
  // The one question. A message with another number of them is malformed to us, as to most.
  std::string name;
  uint16_t type = 0, klass = 0;
  size_t question_end = kHeaderSize;
  std::vector<Record> records;
  size_t end = 0;  // of the last record; what follows is nobody's

  // EDNS: the additional section's OPT record.
  const Record* opt() const;
  // What whoever sent this takes over UDP.
  size_t udp_limit() const;
};

enum class Reading {
  whole,
  not_a_query,  // too short for a header, or a response where a query is due: not to be answered
  malformed,    // FORMERR; what could be read of header and question is there
};
// Reads all of it. `out` is complete when this returns Reading::whole.
enum class Expect { query, response };
Reading read_message(std::string_view bytes, Expect expect, Message& out);

// Reads the name at `at`, which is moved behind it. Pointers go backwards only, so it ends.
// Nothing for a name that is malformed or longer than 255 bytes.
std::optional<std::string> read_name(std::string_view bytes, size_t& at);
// The wire form of a name in the form of read_name (case as it is); nothing if it has none.
std::optional<std::string> write_name(std::string_view name);
std::string lower_case(std::string_view name);

// The address that a name below in-addr.arpa or ip6.arpa stands for.
std::optional<IpAddress> address_of_pointer_name(std::string_view name);
// The inverse.
std::string pointer_name(const IpAddress& address);

// What goes into the answer section, owned by the name of the question.
struct Answer {
  uint16_t type = type::kA;
  std::string data;
};
Answer address_answer(const IpAddress& address);

// The answer to `query`, of which `message` was read. At most `limit` bytes: answers that do not
// fit are left out and the truncation bit is set. Who asked with EDNS is answered with it.
std::string make_response(std::string_view query, const Message& message, Rcode rcode,
                          const std::vector<Answer>& answers, uint32_t ttl, size_t limit);
// Of a query that could not be read: header only.
std::string make_error(std::string_view query, Rcode rcode);

// Makes somebody else's answer fit: whole records are left out from the end of the answer section,
// authority and additional records go before those (but for the OPT record), and the truncation bit
// is set. `message` was read of `bytes`.
std::string shorten(std::string_view bytes, const Message& message, size_t limit);

void set_id(std::string& message, uint16_t id);

}  // namespace gantry::drivers::dns
