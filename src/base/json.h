// JSON on Boost.JSON, with the fields of a struct listed once for reading and writing.
//
//   struct Ulimit { std::string name; int64_t soft = 0; };
//   template <> struct gantry::json::Schema<Ulimit> {
//     static constexpr Field fields[] = {field<&Ulimit::name>("Name"),
//                                        field<&Ulimit::soft>("Soft", kOmitEmpty)};
//   };
//   Result<Ulimit> u = json::parse<Ulimit>(text);   std::string s = json::dump(*u);
//
// Go's rules (encoding/json), which Docker's clients rely on: keys match exactly or else without
// regard to case; unknown keys are ignored; null leaves a field as it is; a wrong type is an error
// that names the field ("HostConfig.Memory: expected an integer, got a string"). kOmitEmpty leaves
// out "", 0, false, null and empty lists, maps and optionals. Field types: bool, integers, double,
// std::string, value, object, std::optional<T>, std::vector<T>, std::map<std::string, T>,
// std::shared_ptr<T> and structs with a Schema. An empty vector or map without kOmitEmpty is
// written as null when kNullEmpty is given, else as [] or {}.
#pragma once

#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/string.hpp>
#include <boost/json/value.hpp>

#include "base/result.h"

namespace gantry::json {

using boost::json::array;
using boost::json::object;
using boost::json::value;

// Parses one document; trailing bytes are an error. Depth is bounded at 64; size by the caller.
Result<value> parse(std::string_view text);
// Compact. `pretty` indents by two spaces.
std::string serialize(const value& v);
std::string pretty(const value& v, std::string_view indent = "  ");

enum Flags : unsigned { kNone = 0, kOmitEmpty = 1, kNullEmpty = 2, kRequired = 4 };

// How one C++ type is read, written and tested for emptiness. Type-erased so that a table of fields
// costs no template code of its own.
struct Codec {
  Status (*decode)(void* out, const value& in);
  value (*encode)(const void* in);
  bool (*empty)(const void* in);
};

struct Field {
  std::string_view name;
  unsigned flags;
  const Codec* codec;
  void* (*member)(void* object);
};

template <typename T>
struct Schema;  // specialize with `static constexpr Field fields[]`

// What the codecs of structs are made of; `path` of an error grows as it comes up.
Status decode_struct(void* out, const value& in, const Field* fields, size_t count);
object encode_struct(const void* in, const Field* fields, size_t count);
Error type_error(std::string_view expected, const value& got);
// Puts "name." or "name[3]." in front of the field path that an error message begins with.
Error at_field(Error error, std::string_view name);

template <typename T>
concept HasSchema = requires { Schema<T>::fields; };

template <typename T>
struct CodecOf;

template <typename T>
Status decode(T& out, const value& in) {
  return CodecOf<T>::decode(&out, in);
}
template <typename T>
value encode(const T& in) {
  return CodecOf<T>::encode(&in);
}

template <typename T>
inline constexpr Codec kCodec = {&CodecOf<T>::decode, &CodecOf<T>::encode, &CodecOf<T>::empty};

template <typename T>
struct MemberTraits;
template <typename C, typename M>
struct MemberTraits<M C::*> {
  using Class = C;
  using Type = M;
};

template <auto Member>
constexpr Field field(std::string_view name, unsigned flags = kNone) {
  using Traits = MemberTraits<decltype(Member)>;
  return {name, flags, &kCodec<typename Traits::Type>, [](void* object) -> void* {
            return &(static_cast<typename Traits::Class*>(object)->*Member);
          }};
}

Status decode_bool(bool& out, const value& in);
Status decode_int(int64_t& out, const value& in, int64_t lowest, int64_t highest);
Status decode_uint(uint64_t& out, const value& in, uint64_t highest);
Status decode_double(double& out, const value& in);
Status decode_string(std::string& out, const value& in);

template <>
struct CodecOf<bool> {
  static Status decode(void* out, const value& in) {
    return decode_bool(*static_cast<bool*>(out), in);
  }
  static value encode(const void* in) { return *static_cast<const bool*>(in); }
  static bool empty(const void* in) { return !*static_cast<const bool*>(in); }
};

template <typename T>
  requires(std::is_integral_v<T> && !std::is_same_v<T, bool>)
struct CodecOf<T> {
  static Status decode(void* out, const value& in) {
    if constexpr (std::is_signed_v<T>) {
      int64_t wide = 0;
      TRY(decode_int(wide, in, std::numeric_limits<T>::min(), std::numeric_limits<T>::max()));
      if (!in.is_null()) *static_cast<T*>(out) = static_cast<T>(wide);
    } else {
      uint64_t wide = 0;
      TRY(decode_uint(wide, in, std::numeric_limits<T>::max()));
      if (!in.is_null()) *static_cast<T*>(out) = static_cast<T>(wide);
    }
    return {};
  }
  static value encode(const void* in) { return *static_cast<const T*>(in); }
  static bool empty(const void* in) { return *static_cast<const T*>(in) == 0; }
};

template <>
struct CodecOf<double> {
  static Status decode(void* out, const value& in) {
    return decode_double(*static_cast<double*>(out), in);
  }
  static value encode(const void* in) { return *static_cast<const double*>(in); }
  static bool empty(const void* in) { return *static_cast<const double*>(in) == 0; }
};

template <>
struct CodecOf<std::string> {
  static Status decode(void* out, const value& in) {
    return decode_string(*static_cast<std::string*>(out), in);
  }
  static value encode(const void* in) {
    return value(boost::json::string(*static_cast<const std::string*>(in)));
  }
  static bool empty(const void* in) { return static_cast<const std::string*>(in)->empty(); }
};

template <>
struct CodecOf<value> {
  static Status decode(void* out, const value& in) {
    *static_cast<value*>(out) = in;
    return {};
  }
  static value encode(const void* in) { return *static_cast<const value*>(in); }
  static bool empty(const void* in) { return static_cast<const value*>(in)->is_null(); }
};

template <>
struct CodecOf<object> {
  static Status decode(void* out, const value& in) {
    if (in.is_null()) return {};
    if (!in.is_object()) return type_error("an object", in);
    *static_cast<object*>(out) = in.get_object();
    return {};
  }
  static value encode(const void* in) { return *static_cast<const object*>(in); }
  static bool empty(const void* in) { return static_cast<const object*>(in)->empty(); }
};

template <typename T>
struct CodecOf<std::optional<T>> {
  static Status decode(void* out, const value& in) {
    auto& optional = *static_cast<std::optional<T>*>(out);
    if (in.is_null()) {
      optional.reset();
      return {};
    }
    return CodecOf<T>::decode(&optional.emplace(), in);
  }
  static value encode(const void* in) {
    const auto& optional = *static_cast<const std::optional<T>*>(in);
    return optional ? CodecOf<T>::encode(&*optional) : value(nullptr);
  }
  static bool empty(const void* in) {
    return !static_cast<const std::optional<T>*>(in)->has_value();
  }
};

template <typename T>
struct CodecOf<std::shared_ptr<T>> {
  static Status decode(void* out, const value& in) {
    auto& pointer = *static_cast<std::shared_ptr<T>*>(out);
    if (in.is_null()) {
      pointer.reset();
      return {};
    }
    pointer = std::make_shared<T>();
    return CodecOf<T>::decode(pointer.get(), in);
  }
  static value encode(const void* in) {
    const auto& pointer = *static_cast<const std::shared_ptr<T>*>(in);
    return pointer ? CodecOf<T>::encode(pointer.get()) : value(nullptr);
  }
  static bool empty(const void* in) { return !*static_cast<const std::shared_ptr<T>*>(in); }
};

template <typename T>
struct CodecOf<std::vector<T>> {
  static Status decode(void* out, const value& in) {
    if (in.is_null()) return {};
    if (!in.is_array()) return type_error("an array", in);
    auto& list = *static_cast<std::vector<T>*>(out);
    list.clear();
    list.reserve(in.get_array().size());
    for (const value& item : in.get_array()) {
      T element{};
      Status decoded = CodecOf<T>::decode(&element, item);
      if (!decoded) return at_field(std::move(decoded).error(), fmt::format("[{}]", list.size()));
      list.push_back(std::move(element));
    }
    return {};
  }
  static value encode(const void* in) {
    array out;
    const auto& list = *static_cast<const std::vector<T>*>(in);
    out.reserve(list.size());
    for (const T& item : list) out.push_back(CodecOf<T>::encode(&item));
    return out;
  }
  static bool empty(const void* in) { return static_cast<const std::vector<T>*>(in)->empty(); }
};

template <typename T>
struct CodecOf<std::map<std::string, T>> {
  static Status decode(void* out, const value& in) {
    if (in.is_null()) return {};
    if (!in.is_object()) return type_error("an object", in);
    auto& map = *static_cast<std::map<std::string, T>*>(out);
    map.clear();
    for (const auto& entry : in.get_object()) {
      T element{};
      Status decoded = CodecOf<T>::decode(&element, entry.value());
      if (!decoded) return at_field(std::move(decoded).error(), entry.key());
      map.insert_or_assign(std::string(entry.key()), std::move(element));
    }
    return {};
  }
  static value encode(const void* in) {
    object out;
    for (const auto& [key, item] : *static_cast<const std::map<std::string, T>*>(in))
      out[key] = CodecOf<T>::encode(&item);
    return out;
  }
  static bool empty(const void* in) {
    return static_cast<const std::map<std::string, T>*>(in)->empty();
  }
};

template <HasSchema T>
struct CodecOf<T> {
  static Status decode(void* out, const value& in) {
    return decode_struct(out, in, Schema<T>::fields, std::size(Schema<T>::fields));
  }
  static value encode(const void* in) {
    return encode_struct(in, Schema<T>::fields, std::size(Schema<T>::fields));
  }
  static bool empty(const void*) { return false; }  // as in Go: a struct is never empty
};

template <typename T>
Result<T> from_value(const value& in) {
  T out{};
  TRY(decode(out, in));
  return out;
}
template <typename T>
Result<T> parse(std::string_view text) {
  value document = TRY(parse(text));
  return from_value<T>(document);
}
template <typename T>
std::string dump(const T& in) {
  return serialize(encode(in));
}

}  // namespace gantry::json
