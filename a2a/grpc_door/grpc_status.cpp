#include "grpc_door/grpc_status.h"

#include <nlohmann/json.hpp>

#include <string_view>
#include <utility>

namespace ambit::a2a {
namespace {

constexpr std::pair<std::string_view, grpc::StatusCode> codes[] = {
    {"INVALID_ARGUMENT", grpc::StatusCode::INVALID_ARGUMENT},
    {"NOT_FOUND", grpc::StatusCode::NOT_FOUND},
    {"FAILED_PRECONDITION", grpc::StatusCode::FAILED_PRECONDITION},
    {"UNAUTHENTICATED", grpc::StatusCode::UNAUTHENTICATED},
    {"PERMISSION_DENIED", grpc::StatusCode::PERMISSION_DENIED},
    {"RESOURCE_EXHAUSTED", grpc::StatusCode::RESOURCE_EXHAUSTED},
    {"UNAVAILABLE", grpc::StatusCode::UNAVAILABLE},
};

grpc::StatusCode code_of(const Failure& failure) {
  if (failure.fault == Fault::method_not_found) return grpc::StatusCode::UNIMPLEMENTED;
  const std::string_view name = row_of(failure.fault).status;
  for (const auto& [known, code] : codes) {
    if (known == name) return code;
  }
  return grpc::StatusCode::INTERNAL;
}

void put_varint(std::string& out, std::size_t value) {
  while (value >= 0x80) {
    out += static_cast<char>((value & 0x7F) | 0x80);
    value >>= 7;
  }
  out += static_cast<char>(value);
}

// A member of protobuf's wire that holds bytes; its number is below 16.
void put_bytes(std::string& out, unsigned number, std::string_view bytes) {
  out += static_cast<char>(number << 3 | 2);
  put_varint(out, bytes.size());
  out += bytes;
}

// google.rpc.ErrorInfo {reason = 1; domain = 2}, google.rpc.BadRequest {repeated FieldViolation
// {field = 1; description = 2} = 1}.
std::string detail_bytes(const rpc::Json& detail) {
  std::string bytes;
  const auto text = [](const rpc::Json& json, const char* key) {
    return json.contains(key) ? json[key].get<std::string>() : std::string();
  };
  if (detail.contains("reason")) {
    put_bytes(bytes, 1, text(detail, "reason"));
    put_bytes(bytes, 2, text(detail, "domain"));
    return bytes;
  }
  for (const rpc::Json& violation : detail["fieldViolations"]) {
    std::string one;
    put_bytes(one, 1, text(violation, "field"));
    put_bytes(one, 2, text(violation, "description"));
    put_bytes(bytes, 1, one);
  }
  return bytes;
}

// Takes one member of protobuf's wire off `bytes`: its number, and what it holds where that is
// bytes. False: there is no sound one.
bool take_member(std::string_view& bytes, std::uint64_t& number, std::string_view& value) {
  const auto varint = [&](std::uint64_t& out) {
    out = 0;
    for (unsigned shift = 0; shift < 64 && !bytes.empty(); shift += 7) {
      const auto byte = static_cast<unsigned char>(bytes.front());
      bytes.remove_prefix(1);
      out |= static_cast<std::uint64_t>(byte & 0x7F) << shift;
      if ((byte & 0x80) == 0) return true;
    }
    return false;
  };
  std::uint64_t tag = 0;
  std::uint64_t size = 0;
  if (!varint(tag)) return false;
  number = tag >> 3;
  value = {};
  if ((tag & 7) == 0) return varint(size);
  if ((tag & 7) == 2) {
    if (!varint(size)) return false;
  } else if ((tag & 7) == 1 || (tag & 7) == 5) {
    size = (tag & 7) == 1 ? 8 : 4;
  } else {
    return false;
  }
  if (size > bytes.size()) return false;
  value = bytes.substr(0, size);
  bytes.remove_prefix(size);
  return true;
}

std::string member(std::string_view bytes, std::uint64_t wanted) {
  std::uint64_t number = 0;
  std::string_view value;
  while (take_member(bytes, number, value)) {
    if (number == wanted) return std::string(value);
  }
  return "";
}

constexpr std::pair<grpc::StatusCode, int> http_statuses[] = {
    {grpc::StatusCode::INVALID_ARGUMENT, 400},  {grpc::StatusCode::FAILED_PRECONDITION, 400},
    {grpc::StatusCode::NOT_FOUND, 404},         {grpc::StatusCode::UNAUTHENTICATED, 401},
    {grpc::StatusCode::PERMISSION_DENIED, 403}, {grpc::StatusCode::RESOURCE_EXHAUSTED, 429},
    {grpc::StatusCode::DEADLINE_EXCEEDED, 504}};

}  // namespace

rpc::Json to_rest_error(const grpc::Status& status) {
  rpc::Json details = rpc::Json::array();
  const std::string bytes = status.error_details();
  std::string_view rest = bytes;
  std::uint64_t number = 0;
  std::string_view any;
  while (take_member(rest, number, any)) {
    const std::string type = number == 3 ? member(any, 1) : "";
    if (!type.ends_with("/google.rpc.ErrorInfo")) continue;
    const std::string info = member(any, 2);
    details.push_back({{"@type", type}, {"reason", member(info, 1)}, {"domain", member(info, 2)}});
  }
  int code = 500;
  for (const auto& [known, http] : http_statuses) {
    if (known == status.error_code()) code = http;
  }
  rpc::Json json = rpc::Json::object();
  json["error"] = {{"code", code}, {"message", status.error_message()}, {"details", details}};
  return json;
}

// google.rpc.Status {code = 1; message = 2; repeated google.protobuf.Any details = 3}.
grpc::Status to_status(const Failure& failure) {
  const grpc::StatusCode code = code_of(failure);
  std::string status;
  status += '\x08';
  put_varint(status, static_cast<std::size_t>(code));
  put_bytes(status, 2, failure.message);
  for (const rpc::Json& detail : details_of(failure)) {
    std::string any;
    put_bytes(any, 1, detail["@type"].get<std::string>());
    put_bytes(any, 2, detail_bytes(detail));
    put_bytes(status, 3, any);
  }
  return {code, failure.message, status};
}

}  // namespace ambit::a2a
