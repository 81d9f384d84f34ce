#include "mcp/skill_reader.h"

#include "mcp/base64.h"
#include "mcp/json_text.h"

#include <nlohmann/json.hpp>

#include <utility>

namespace ambit::mcp {
namespace {

using rpc::Json;

// The server's settings of the extension; null where it has none.
const Json* settings(const Client& client) {
  const Json& all = client.server().capabilities.json();
  if (!all.is_object() || !all.contains("extensions")) return nullptr;
  const Json& extensions = all["extensions"];
  if (!extensions.is_object() || !extensions.contains(skills_extension)) return nullptr;
  return &extensions[skills_extension];
}

Result<std::string> bytes_of(const Json& result, const std::string& uri) {
  const auto contents = result.find("contents");
  if (contents == result.end() || !contents->is_array() || contents->size() != 1) {
    return Err(Code::invalid, "$.result.contents: must hold the one file that was asked for");
  }
  const Json& file = contents->front();
  if (text_of(file, "uri") != uri) return Err(Code::invalid, "the server gives another file");
  if (file.contains("text") && file["text"].is_string()) return file["text"].get<std::string>();
  auto bytes = from_base64(text_of(file, "blob"));
  if (!bytes || !file.contains("blob")) {
    return Err(Code::invalid, "$.result.contents[0]: has neither a text nor a blob in base64");
  }
  return std::move(*bytes);
}

}  // namespace

bool SkillReader::is_offered() const {
  return settings(client_) != nullptr;
}

bool SkillReader::reads_directories() const {
  const Json* given = settings(client_);
  return given != nullptr && given->is_object() && given->contains("directoryRead") &&
         (*given)["directoryRead"] == true;
}

Result<void> SkillReader::check_offered() const {
  if (is_offered()) return {};
  return Err(Code::unsupported, "the server does not declare " + std::string(skills_extension));
}

Task<Result<SkillList>> SkillReader::list() {
  co_await ok(check_offered());
  const Value entries = co_await ok(client_.list_all("skills/list", "skills"));
  SkillList list;
  for (const Json& entry : entries.json()) {
    SkillEntry read;
    auto good = from_value(Value(entry), read);
    if (good) {
      list.skills.push_back(std::move(read));
    } else {
      list.rejected.push_back("\"" + text_of(entry, "uri") + "\": " + good.error().message);
    }
  }
  co_return list;
}

Task<Result<Value>> SkillReader::ask(std::string method, std::string uri) {
  Value params = Json{{"uri", uri}};
  auto reply = co_await ok(client_.request(method, std::move(params)));
  if (reply.fault) co_return Err(rpc::to_error(*reply.fault).context(method));
  if (!reply.result.json().is_object()) {
    co_return Err(Code::invalid, method + ": $.result: must be an object");
  }
  co_return std::move(reply.result);
}

Task<Result<SkillEntry>> SkillReader::get(std::string uri) {
  co_await ok(check_offered());
  const Value result = co_await ok(ask("skills/get", uri));
  SkillEntry entry;
  const Value given =
      result.json().contains("skill") ? Value(result.json()["skill"]) : Value(Json());
  auto good = from_value(given, entry);
  if (!good) co_return Err(std::move(good).error().context("skills/get: $.result.skill"));
  if (entry.uri != uri) co_return Err(Code::invalid, "skills/get: the server gives another skill");
  co_return entry;
}

Task<Result<std::string>> SkillReader::read(SkillEntry held, std::string uri) {
  co_await ok(check_offered());
  // What is not listed need not be asked for: nothing could vouch for it.
  bool is_listed = false;
  for (const SkillResource& one : held.resources) is_listed = is_listed || one.uri == uri;
  if (!is_listed) {
    auto why = verify_file(held, uri, "");
    co_return Err(std::move(why).error());
  }
  const Value result = co_await ok(ask("resources/read", uri));
  std::string bytes = co_await ok(bytes_of(result.json(), uri));
  co_await ok(verify_file(held, uri, bytes));
  co_return bytes;
}

Task<Result<Value>> SkillReader::directory(std::string uri) {
  co_await ok(check_offered());
  if (!reads_directories()) {
    co_return Err(Code::unsupported, "the server does not declare directoryRead");
  }
  const Value result = co_await ok(ask("resources/directory/read", uri));
  const auto children = result.json().find("resources");
  if (children == result.json().end() || !children->is_array()) {
    co_return Err(Code::invalid, "resources/directory/read: $.result.resources: must be an array");
  }
  co_return Value(*children);
}

}  // namespace ambit::mcp
