#include "runtime/shim/log_format.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include <array>
#include <cstring>

#include "base/clock.h"
#include "base/json.h"

namespace gantry::shim {
namespace {

constexpr char kHex[] = "0123456789abcdef";

// Bytes that stand for themselves in Go's HTML-safe strings.
constexpr std::array<bool, 256> kPlain = [] {
  std::array<bool, 256> plain = {};
  for (int c = 0x20; c < 0x80; ++c)
    plain[static_cast<size_t>(c)] = c != '"' && c != '\\' && c != '<' && c != '>' && c != '&';
  return plain;
}();

// The length of the plain bytes that `p` begins with.
size_t plain_prefix(const char* p, size_t size) {
  size_t i = 0;
#ifdef __SSE2__
  const __m128i quote = _mm_set1_epi8('"'), backslash = _mm_set1_epi8('\\');
  const __m128i less = _mm_set1_epi8('<'), greater = _mm_set1_epi8('>'), amp = _mm_set1_epi8('&');
  const __m128i control = _mm_set1_epi8(0x20);
  for (; i + 16 <= size; i += 16) {
    __m128i v = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p + i));
    // Signed: bytes from 0x80 are negative, so this finds them along with the control characters.
    __m128i special = _mm_cmplt_epi8(v, control);
    special = _mm_or_si128(special, _mm_cmpeq_epi8(v, quote));
    special = _mm_or_si128(special, _mm_cmpeq_epi8(v, backslash));
    special = _mm_or_si128(special, _mm_cmpeq_epi8(v, less));
    special = _mm_or_si128(special, _mm_cmpeq_epi8(v, greater));
    special = _mm_or_si128(special, _mm_cmpeq_epi8(v, amp));
    int mask = _mm_movemask_epi8(special);
    if (mask != 0) return i + static_cast<size_t>(__builtin_ctz(static_cast<unsigned>(mask)));
  }
#endif
  while (i < size && kPlain[static_cast<unsigned char>(p[i])]) ++i;
  return i;
}

// The length of the UTF-8 sequence at `p` (RFC 3629: shortest form, no surrogates), 0 when it is
// none.
size_t utf8_length(const unsigned char* p, size_t size) {
  auto continues = [&](size_t i, unsigned char low = 0x80, unsigned char high = 0xbf) {
    return i < size && p[i] >= low && p[i] <= high;
  };
  unsigned char c = p[0];
  if (c >= 0xc2 && c <= 0xdf) return continues(1) ? 2 : 0;
  if (c >= 0xe0 && c <= 0xef) {
    unsigned char low = c == 0xe0 ? 0xa0 : 0x80, high = c == 0xed ? 0x9f : 0xbf;
    return continues(1, low, high) && continues(2) ? 3 : 0;
  }
  if (c >= 0xf0 && c <= 0xf4) {
    unsigned char low = c == 0xf0 ? 0x90 : 0x80, high = c == 0xf4 ? 0x8f : 0xbf;
    return continues(1, low, high) && continues(2) && continues(3) ? 4 : 0;
  }
  return 0;
}

char* put(char* out, std::string_view text) {
  std::memcpy(out, text.data(), text.size());
  return out + text.size();
}

char* put_digits(char* out, unsigned value, int digits) {
  for (int i = digits - 1; i >= 0; --i, value /= 10) out[i] = static_cast<char>('0' + value % 10);
  return out + digits;
}

// Protocol buffers: https://protobuf.dev/programming-guides/encoding/
void put_varint(std::string& out, uint64_t value) {
  for (; value >= 0x80; value >>= 7) out += static_cast<char>(value | 0x80);
  out += static_cast<char>(value);
}
void put_bytes(std::string& out, int field, std::string_view bytes) {
  out += static_cast<char>(field << 3 | 2);
  put_varint(out, bytes.size());
  out += bytes;
}
void put_number(std::string& out, int field, uint64_t value) {
  if (value == 0) return;
  out += static_cast<char>(field << 3);
  put_varint(out, value);
}

class ProtobufReader {
 public:
  explicit ProtobufReader(std::string_view rest) : rest_(rest) {}

  // The next field; false at the end. `bytes` or `number` is set by its wire type.
  Result<bool> next() {
    if (rest_.empty()) return false;
    uint64_t key = TRY(varint());
    field = static_cast<int>(key >> 3);
    bytes = {};
    number = 0;
    switch (key & 7) {
      case 0:
        number = TRY(varint());
        return true;
      case 1:
        return skip(8);
      case 2: {
        uint64_t size = TRY(varint());
        if (size > rest_.size()) return invalid("log entry: a field beyond its end");
        bytes = rest_.substr(0, size);
        rest_.remove_prefix(size);
        return true;
      }
      case 5:
        return skip(4);
      default:
        return invalid("log entry: wire type {}", key & 7);
    }
  }

  int field = 0;
  uint64_t number = 0;
  std::string_view bytes;

 private:
  Result<uint64_t> varint() {
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64 && !rest_.empty(); shift += 7) {
      auto byte = static_cast<unsigned char>(rest_[0]);
      rest_.remove_prefix(1);
      value |= uint64_t{byte & 0x7fu} << shift;
      if (byte < 0x80) return value;
    }
    return invalid("log entry: broken number");
  }
  Result<bool> skip(size_t size) {
    if (size > rest_.size()) return invalid("log entry: a field beyond its end");
    rest_.remove_prefix(size);
    return true;
  }

  std::string_view rest_;
};

Result<Partial> parse_partial(std::string_view message) {
  Partial partial;
  ProtobufReader reader(message);
  while (TRY(reader.next())) {
    if (reader.field == 1) partial.last = reader.number != 0;
    if (reader.field == 2) partial.id = reader.bytes;
    if (reader.field == 3) partial.ordinal = static_cast<int32_t>(reader.number);
  }
  return partial;
}

}  // namespace

std::string_view to_string(Stream stream) {
  return stream == Stream::err ? "stderr" : stream == Stream::out ? "stdout" : "stdin";
}

char* escape_json(char* out, std::string_view text) {
  const char* p = text.data();
  size_t size = text.size();
  while (size > 0) {
    size_t plain = plain_prefix(p, size);
    std::memcpy(out, p, plain);
    out += plain;
    p += plain;
    size -= plain;
    if (size == 0) break;
    auto c = static_cast<unsigned char>(*p);
    size_t used = 1;
    if (c == '"' || c == '\\') {
      *out++ = '\\';
      *out++ = static_cast<char>(c);
    } else if (c == '\n') {
      out = put(out, "\\n");
    } else if (c == '\r') {
      out = put(out, "\\r");
    } else if (c < 0x80) {
      out = put(out, "\\u00");
      *out++ = kHex[c >> 4];
      *out++ = kHex[c & 15];
    } else if (used = utf8_length(reinterpret_cast<const unsigned char*>(p), size); used == 0) {
      out = put(out, "\\ufffd");
      used = 1;
    } else if (used == 3 && c == 0xe2 && static_cast<unsigned char>(p[1]) == 0x80 &&
               (static_cast<unsigned char>(p[2]) & 0xfe) == 0xa8) {
      out = put(out, "\\u202");  // U+2028 and U+2029 end a line in JavaScript
      *out++ = kHex[p[2] & 15];
    } else {
      out = put(out, {p, used});
    }
    p += used;
    size -= used;
  }
  return out;
}

char* print_time(char* out, int64_t ns) {
  int64_t seconds = ns / 1'000'000'000, fraction = ns % 1'000'000'000;
  if (fraction < 0) {
    fraction += 1'000'000'000;
    --seconds;
  }
  int64_t days = seconds / 86400, of_day = seconds % 86400;
  if (of_day < 0) {
    of_day += 86400;
    --days;
  }
  // Days to a civil date, years beginning in March
  // (http://howardhinnant.github.io/date_algorithms.html). gmtime_r would read the time zone file
  // and keep it.
  int64_t z = days + 719468;
  int64_t era = (z >= 0 ? z : z - 146096) / 146097;
  auto doe = static_cast<unsigned>(z - era * 146097);
  unsigned yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
  unsigned doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
  unsigned mp = (5 * doy + 2) / 153;
  unsigned day = doy - (153 * mp + 2) / 5 + 1;
  unsigned month = mp < 10 ? mp + 3 : mp - 9;
  auto year = static_cast<unsigned>(int64_t{yoe} + era * 400 + (month <= 2));
  auto clock = static_cast<unsigned>(of_day);
  out = put_digits(out, year, 4);
  *out++ = '-';
  out = put_digits(out, month, 2);
  *out++ = '-';
  out = put_digits(out, day, 2);
  *out++ = 'T';
  out = put_digits(out, clock / 3600, 2);
  *out++ = ':';
  out = put_digits(out, clock / 60 % 60, 2);
  *out++ = ':';
  out = put_digits(out, clock % 60, 2);
  if (fraction != 0) {
    *out++ = '.';
    out = put_digits(out, static_cast<unsigned>(fraction), 9);
    while (out[-1] == '0') --out;
  }
  *out++ = 'Z';
  return out;
}

void append_local(std::string& out, Stream stream, int64_t time, std::string_view line,
                  const std::optional<Partial>& partial) {
  size_t start = out.size();
  out.append(4, '\0');
  put_bytes(out, 1, to_string(stream));
  put_number(out, 2, static_cast<uint64_t>(time));
  if (!line.empty()) put_bytes(out, 3, line);
  if (partial) {
    put_number(out, 4, 1);
    std::string details;
    put_number(details, 1, partial->last ? 1 : 0);
    if (!partial->id.empty()) put_bytes(details, 2, partial->id);
    put_number(details, 3, static_cast<uint64_t>(partial->ordinal));
    put_bytes(out, 5, details);
  }
  auto size = static_cast<uint32_t>(out.size() - start - 4);
  char big_endian[4] = {static_cast<char>(size >> 24), static_cast<char>(size >> 16),
                        static_cast<char>(size >> 8), static_cast<char>(size)};
  std::memcpy(out.data() + start, big_endian, 4);
  out.append(big_endian, 4);
}

Result<LogEntry> parse_json_entry(std::string_view line) {
  json::value document = TRY(json::parse(line).context("log entry"));
  const json::object* members = document.if_object();
  if (!members) return invalid("log entry: not an object");
  LogEntry entry;
  const json::value* text = members->if_contains("log");
  if (text && text->is_string()) entry.line = text->get_string();
  const json::value* stream = members->if_contains("stream");
  if (stream && stream->is_string() && stream->get_string() == "stderr") entry.stream = Stream::err;
  const json::value* attributes = members->if_contains("attrs");
  if (attributes && attributes->is_object()) entry.attributes = json::serialize(*attributes);
  const json::value* time = members->if_contains("time");
  if (!time || !time->is_string()) return invalid("log entry: without a time");
  entry.time = TRY(parse_time(time->get_string()).context("log entry"));
  return entry;
}

Result<LogEntry> parse_local_entry(std::string_view message) {
  LogEntry entry;
  ProtobufReader reader(message);
  bool is_partial = false;
  while (TRY(reader.next())) {
    if (reader.field == 1 && reader.bytes == "stderr") entry.stream = Stream::err;
    if (reader.field == 2) entry.time = static_cast<int64_t>(reader.number);
    if (reader.field == 3) entry.line = reader.bytes;
    if (reader.field == 4) is_partial = reader.number != 0;
    if (reader.field == 5) entry.partial = TRY(parse_partial(reader.bytes));
  }
  if (is_partial && !entry.partial) entry.partial.emplace();
  if (!entry.partial || entry.partial->last) entry.line += '\n';
  return entry;
}

}  // namespace gantry::shim
