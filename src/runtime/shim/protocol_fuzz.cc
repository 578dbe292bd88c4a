// Whatever a peer sends is a message or an error, within bounds.
#include <cstddef>
#include <cstdint>

#include "runtime/shim/protocol.h"

using namespace gantry::shim;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  size_t step = 1 + data[0] % 64;
  std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  Decoder decoder;
  for (size_t at = 0; at < bytes.size(); at += step) {
    if (!decoder.feed(bytes.substr(at, step))) return 0;
    for (;;) {
      auto message = decoder.next();
      if (!message) return 0;
      if (!*message) break;
      const Message& m = **message;
      (void)m.leftover();
      (void)m.as<Greeting>();
      (void)m.as<LaunchOptions>();
      (void)m.as<AttachOptions>();
      (void)m.as<ExecRequest>();
      (void)m.as<ResizeRequest>();
      (void)m.as<SignalRequest>();
      (void)m.as<StateReply>();
      (void)m.as<ExecExited>();
      (void)error_of(m);
    }
  }
  return 0;
}
