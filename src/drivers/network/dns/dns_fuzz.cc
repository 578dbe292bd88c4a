// Any bytes as a query and as a server's answer: what is read is within bounds, what is written can
// be read again and is as short as it was asked to be.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "drivers/network/dns/zone.h"

namespace {

using namespace gantry::drivers;
using namespace gantry::drivers::dns;

void check(bool holds) {
  if (!holds) abort();
}

void as_query(std::string_view bytes, const View& view) {
  Message message;
  const Reading reading = read_message(bytes, Expect::query, message);
  if (reading == Reading::malformed) check(make_error(bytes, Rcode::format_error).size() == 12);
  if (reading != Reading::whole) return;
  check(message.end <= bytes.size() && message.question_end <= message.end);
  const auto wire = write_name(message.name);
  check(wire && wire->size() <= 255);
  const size_t limit = message.udp_limit();
  auto answer = resolve(view, bytes, message, limit, bytes.size());
  if (!answer) answer = make_response(bytes, message, Rcode::server_failure, {}, 0, limit);
  check(answer->size() <= limit);
  Message again;
  check(read_message(*answer, Expect::response, again) == Reading::whole);
  check(again.name == message.name && again.id == message.id && again.end == answer->size());
}

void as_response(std::string_view bytes) {
  Message message;
  if (read_message(bytes, Expect::response, message) != Reading::whole) return;
  for (const size_t limit : {size_t{512}, size_t{1232}}) {
    const std::string cut = shorten(bytes, message, limit);
    Message again;
    check(read_message(cut, Expect::response, again) == Reading::whole);
    check(again.truncated && again.end == cut.size());
    check(cut.size() <= limit);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const View view = [] {
    auto zone = std::make_shared<Zone>("net");
    zone->put("1", {"web",
                    {"www", "0123456789ab"},
                    {*IpAddress::parse("10.0.0.1"), *IpAddress::parse("fd00::1")}});
    zone->put("2", {"db", {"www"}, {*IpAddress::parse("10.0.0.2")}});
    View made;
    made.networks.push_back({zone, {{"alias", "db"}}});
    return made;
  }();
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  as_query(bytes, view);
  as_response(bytes);
  (void)address_of_pointer_name(bytes);
  (void)write_name(bytes);
  return 0;
}
