#include "daemon/api/container_config.h"

namespace gantry::daemon::api {

Result<CreateBody> parse_create_body(const json::value& body) {
  if (!body.is_object()) return json::type_error("an object", body);
  CreateBody out;
  TRY(json::decode(out.config, body));
  // HostConfig and NetworkingConfig stand beside the members of the config itself; the generic
  // decoder finds them there.
  struct Beside {
    HostConfig host_config;
    NetworkingConfig networking_config;
  };
  static constexpr json::Field kFields[] = {
      json::field<&Beside::host_config>("HostConfig"),
      json::field<&Beside::networking_config>("NetworkingConfig")};
  Beside beside;
  TRY(json::decode_struct(&beside, body, kFields, std::size(kFields)));
  out.host_config = std::move(beside.host_config);
  out.networking_config = std::move(beside.networking_config);
  return out;
}

}  // namespace gantry::daemon::api

namespace gantry::json {

Status CodecOf<daemon::api::StringOrList>::decode(void* out, const value& in) {
  auto& list = *static_cast<daemon::api::StringOrList*>(out);
  if (in.is_null()) return {};
  if (in.is_string()) {
    list.items.emplace().emplace_back(in.get_string());
    return {};
  }
  return CodecOf<daemon::api::Strings>::decode(&list.items.emplace(), in);
}

value CodecOf<daemon::api::StringOrList>::encode(const void* in) {
  const auto& list = *static_cast<const daemon::api::StringOrList*>(in);
  return list.items ? CodecOf<daemon::api::Strings>::encode(&*list.items) : value(nullptr);
}

bool CodecOf<daemon::api::StringOrList>::empty(const void* in) {
  return !static_cast<const daemon::api::StringOrList*>(in)->items.has_value();
}

}  // namespace gantry::json
