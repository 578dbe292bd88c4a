#include "drivers/network/dns/message.h"

#include <algorithm>
#include <charconv>
#include <cstring>

#include <fmt/core.h>

namespace gantry::drivers::dns {

namespace {

constexpr size_t kLongestName = 255, kLongestLabel = 63;
constexpr uint8_t kPointer = 0xc0;
constexpr uint16_t kNameOfQuestion = 0xc000 | kHeaderSize;  // a pointer to it
constexpr uint16_t kResponse = 0x8000, kTruncated = 0x0200, kRecursionDesired = 0x0100,
                   kRecursionAvailable = 0x0080, kCheckingDisabled = 0x0010;
constexpr uint32_t kDnssecOk = 0x8000;

uint8_t byte_at(std::string_view bytes, size_t at) { return static_cast<uint8_t>(bytes[at]); }
uint16_t u16_at(std::string_view bytes, size_t at) {
  return static_cast<uint16_t>(byte_at(bytes, at) << 8 | byte_at(bytes, at + 1));
}
uint32_t u32_at(std::string_view bytes, size_t at) {
  return static_cast<uint32_t>(u16_at(bytes, at)) << 16 | u16_at(bytes, at + 2);
}
void put_u16(std::string& out, size_t value) {
  out += static_cast<char>(value >> 8);
  out += static_cast<char>(value);
}
void put_u32(std::string& out, uint32_t value) {
  put_u16(out, value >> 16);
  put_u16(out, value & 0xffff);
}
void set_u16(std::string& out, size_t at, size_t value) {
  out[at] = static_cast<char>(value >> 8);
  out[at + 1] = static_cast<char>(value);
}

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

void append_label(std::string& name, std::string_view label) {
  if (!name.empty()) name += '.';
  for (const char c : label) {
    if (c == '.' || c == '\\') {
      name += '\\';
      name += c;
    } else if (c <= ' ' || c == '\x7f') {
      name += fmt::format("\\{:03}", static_cast<unsigned>(static_cast<uint8_t>(c)));
    } else {
      name += lower(c);
    }
  }
}

// A name that is passed over: pointers are not followed.
bool skip_name(std::string_view bytes, size_t& at) {
  while (at < bytes.size()) {
    const uint8_t length = byte_at(bytes, at);
    if ((length & kPointer) == kPointer) {
      at += 2;
      return at <= bytes.size();
    }
    if (length > kLongestLabel) return false;
    at += 1 + size_t{length};
    if (length == 0) return at <= bytes.size();
  }
  return false;
}

bool read_records(std::string_view bytes, size_t count, Section section, Message& out) {
  for (; count > 0; --count) {
    Record record;
    record.section = section;
    record.begin = out.end;
    size_t at = out.end;
    if (!skip_name(bytes, at) || at + 10 > bytes.size()) return false;
    record.type = u16_at(bytes, at);
    record.klass = u16_at(bytes, at + 2);
    record.ttl = u32_at(bytes, at + 4);
    record.data = at + 10;
    record.end = record.data + u16_at(bytes, at + 8);
    if (record.end > bytes.size()) return false;
    out.end = record.end;
    out.records.push_back(record);
  }
  return true;
}

}  // namespace

const Record* Message::opt() const {
  for (const Record& record : records)
    if (record.section == Section::additional && record.type == type::kOpt) return &record;
  return nullptr;
}

size_t Message::udp_limit() const {
  const Record* edns = opt();
  return edns == nullptr ? kPlainLimit : std::max<size_t>(edns->klass, kPlainLimit);
}

std::string lower_case(std::string_view name) {
  std::string out(name);
  std::transform(out.begin(), out.end(), out.begin(), lower);
  return out;
}

std::optional<std::string> read_name(std::string_view bytes, size_t& at) {
  std::string name;
  size_t length = 0;      // on the wire, as if it were not compressed
  size_t begin = at;      // of the run of labels that is being read
  bool followed = false;  // a pointer: the name ended there
  for (size_t here = at; here < bytes.size();) {
    const uint8_t first = byte_at(bytes, here);
    if ((first & kPointer) == kPointer) {
      if (here + 2 > bytes.size()) return std::nullopt;
      const size_t target = u16_at(bytes, here) & 0x3fff;
      if (!followed) at = here + 2;
      followed = true;
      if (target < kHeaderSize || target >= begin) return std::nullopt;
      here = begin = target;
      continue;
    }
    if (first > kLongestLabel) return std::nullopt;
    length += 1 + size_t{first};
    if (length > kLongestName || here + 1 + first > bytes.size()) return std::nullopt;
    if (first == 0) {
      if (!followed) at = here + 1;
      return name;
    }
    append_label(name, bytes.substr(here + 1, first));
    here += 1 + size_t{first};
  }
  return std::nullopt;
}

std::optional<std::string> write_name(std::string_view name) {
  std::string out;
  std::string label;
  const auto finish = [&] {
    if (label.empty() || label.size() > kLongestLabel) return false;
    out += static_cast<char>(label.size());
    out += label;
    label.clear();
    return true;
  };
  for (size_t at = 0; at < name.size(); ++at) {
    if (name[at] == '.') {
      if (!finish()) return std::nullopt;
    } else if (name[at] != '\\') {
      label += name[at];
    } else if (at + 1 < name.size() && (name[at + 1] < '0' || name[at + 1] > '9')) {
      label += name[++at];
    } else {
      unsigned value = 256;
      const char* digits = name.data() + at + 1;
      if (at + 3 >= name.size() || std::from_chars(digits, digits + 3, value).ptr != digits + 3 ||
          value > 255)
        return std::nullopt;
      label += static_cast<char>(value);
      at += 3;
    }
  }
  if (!name.empty() && !finish()) return std::nullopt;
  out += '\0';
  if (out.size() > kLongestName) return std::nullopt;
  return out;
}

Reading read_message(std::string_view bytes, Expect expect, Message& out) {
  out = Message();
  if (bytes.size() < kHeaderSize || bytes.size() > kLargest) return Reading::not_a_query;
  const uint16_t flags = u16_at(bytes, 2);
  out.id = u16_at(bytes, 0);
  out.response = flags & kResponse;
  out.opcode = flags >> 11 & 0xf;
  out.truncated = flags & kTruncated;
  out.recursion_desired = flags & kRecursionDesired;
  out.checking_disabled = flags & kCheckingDisabled;
  out.rcode = flags & 0xf;
  if (out.response != (expect == Expect::response)) return Reading::not_a_query;
  if (u16_at(bytes, 4) != 1) return Reading::malformed;
  size_t at = kHeaderSize;
  auto name = read_name(bytes, at);
  if (!name || at + 4 > bytes.size()) return Reading::malformed;
  out.name = std::move(*name);
  out.type = u16_at(bytes, at);
  out.klass = u16_at(bytes, at + 2);
  out.question_end = out.end = at + 4;
  size_t options = 0;
  if (!read_records(bytes, u16_at(bytes, 6), Section::answer, out) ||
      !read_records(bytes, u16_at(bytes, 8), Section::authority, out) ||
      !read_records(bytes, u16_at(bytes, 10), Section::additional, out))
    return Reading::malformed;
  for (const Record& record : out.records) options += record.type == type::kOpt;
  return options > 1 ? Reading::malformed : Reading::whole;
}

std::optional<IpAddress> address_of_pointer_name(std::string_view name) {
  constexpr std::string_view k4 = ".in-addr.arpa", k6 = ".ip6.arpa";
  const bool v4 = name.ends_with(k4);
  if (!v4 && !name.ends_with(k6)) return std::nullopt;
  std::string_view rest = name.substr(0, name.size() - (v4 ? k4.size() : k6.size()));
  Uint128 number = 0;
  unsigned shift = 0;
  const unsigned bits = v4 ? 8 : 4, total = v4 ? 32 : 128;
  for (; shift < total; shift += bits) {  // the last part of the address comes first
    const size_t dot = std::min(rest.find('.'), rest.size());
    const std::string_view part = rest.substr(0, dot);
    unsigned value = 0;
    const auto [end, error] =
        std::from_chars(part.data(), part.data() + part.size(), value, v4 ? 10 : 16);
    const bool one_form = part.size() == 1 || (v4 && part.size() <= 3 && part.front() != '0');
    if (error != std::errc() || end != part.data() + part.size() || value >> bits != 0 || !one_form)
      return std::nullopt;
    number |= Uint128{value} << shift;
    if (dot == rest.size()) {
      rest = {};
      shift += bits;
      break;
    }
    rest.remove_prefix(dot + 1);
  }
  if (shift != total || !rest.empty()) return std::nullopt;
  return IpAddress::from_number(v4 ? IpFamily::v4 : IpFamily::v6, number);
}

std::string pointer_name(const IpAddress& address) {
  const auto bytes = address.bytes();
  std::string out;
  for (size_t i = address.size(); i-- > 0;) {
    if (address.is_v4())
      out += fmt::format("{}.", bytes[i]);
    else
      out += fmt::format("{:x}.{:x}.", bytes[i] & 0xf, bytes[i] >> 4);
  }
  return out + (address.is_v4() ? "in-addr.arpa" : "ip6.arpa");
}

Answer address_answer(const IpAddress& address) {
  const auto bytes = address.bytes();
  return {address.is_v4() ? type::kA : type::kAaaa,
          std::string(reinterpret_cast<const char*>(bytes.data()), address.size())};
}

std::string make_response(std::string_view query, const Message& message, Rcode rcode,
                          const std::vector<Answer>& answers, uint32_t ttl, size_t limit) {
  const Record* edns = message.opt();
  constexpr size_t kOptSize = 11;
  std::string out;
  out.reserve(message.question_end + answers.size() * 32 + kOptSize);
  const auto code = static_cast<unsigned>(rcode);
  uint16_t flags = kResponse | kRecursionAvailable | static_cast<uint16_t>(message.opcode << 11) |
                   static_cast<uint16_t>(code & 0xf);
  if (message.recursion_desired) flags |= kRecursionDesired;
  if (message.checking_disabled) flags |= kCheckingDisabled;
  put_u16(out, message.id);
  put_u16(out, flags);
  put_u16(out, 1);
  put_u16(out, 0);  // answers, below
  put_u16(out, 0);
  put_u16(out, edns != nullptr ? 1 : 0);
  out += query.substr(kHeaderSize, message.question_end - kHeaderSize);
  size_t written = 0;
  for (const Answer& answer : answers) {
    const size_t size = 12 + answer.data.size();
    if (out.size() + size + (edns != nullptr ? kOptSize : 0) > limit) {
      flags |= kTruncated;
      set_u16(out, 2, flags);
      break;
    }
    put_u16(out, kNameOfQuestion);
    put_u16(out, answer.type);
    put_u16(out, kClassIn);
    put_u32(out, ttl);
    put_u16(out, answer.data.size());
    out += answer.data;
    ++written;
  }
  set_u16(out, 6, written);
  if (edns != nullptr) {
    out += '\0';
    put_u16(out, type::kOpt);
    put_u16(out, kOwnUdpSize);
    put_u32(out, code >> 4 << 24 | (edns->ttl & kDnssecOk));
    put_u16(out, 0);
  }
  return out;
}

std::string make_error(std::string_view query, Rcode rcode) {
  std::string out(query.substr(0, 4));
  const uint16_t asked = u16_at(query, 2);
  set_u16(out, 2,
          kResponse | kRecursionAvailable | (asked & (0x7800 | kRecursionDesired)) |
              (static_cast<unsigned>(rcode) & 0xf));
  out.append(8, '\0');
  return out;
}

std::string shorten(std::string_view bytes, const Message& message, size_t limit) {
  const Record* edns = message.opt();
  const std::string_view opt =
      edns == nullptr ? "" : bytes.substr(edns->begin, edns->end - edns->begin);
  // A compressed owner name would point to where it was; an OPT record's is the root.
  const bool keep_opt =
      !opt.empty() && opt[0] == '\0' && message.question_end + opt.size() <= limit;
  const size_t room = limit - std::min(limit, keep_opt ? opt.size() : 0);
  size_t end = message.question_end, answers = 0;
  for (const Record& record : message.records) {
    if (record.section != Section::answer || record.end > room) break;
    end = record.end;
    ++answers;
  }
  std::string out(bytes.substr(0, end));
  set_u16(out, 2, u16_at(bytes, 2) | kTruncated);
  set_u16(out, 6, answers);
  set_u16(out, 8, 0);
  set_u16(out, 10, keep_opt ? 1 : 0);
  if (keep_opt) out += opt;
  return out;
}

void set_id(std::string& message, uint16_t id) { set_u16(message, 0, id); }

}  // namespace gantry::drivers::dns
