#include "app/mcp_connect.h"

#include "io/file.h"
#include "mcp/http_transport.h"
#include "mcp/pinned_files.h"

#include <utility>

namespace ambit::app {
namespace {

constexpr std::size_t credential_bytes_max = 64 << 10;

}  // namespace

Result<mcp::OAuthOptions> login_options(const agents::McpLoginSpec& login,
                                        const std::map<std::string, std::string>& environment) {
  mcp::OAuthOptions options;
  options.grant = mcp::Grant::client_credentials;
  if (login.grant == "jwt_bearer") options.grant = mcp::Grant::jwt_bearer;
  if (login.grant == "enterprise") options.grant = mcp::Grant::enterprise;
  options.client_id = login.client_id;
  const auto secret = environment.find(login.secret_variable);
  if (secret != environment.end()) options.client_secret = secret->second;
  if (!login.key_file.empty()) {
    const std::string pem = TRY(io::read_file(login.key_file, credential_bytes_max));
    auto key = jose::Key::from_pem(pem, "");
    if (!key) return Err(std::move(key).error().context(login.key_file));
    options.key = std::move(*key);
  }
  options.identity = {login.identity_endpoint, login.identity_client};
  if (!login.assertion_file.empty()) {
    options.assertion = [file = login.assertion_file]() -> Result<std::string> {
      std::string text = TRY(io::read_file(file, credential_bytes_max));
      while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.pop_back();
      return text;
    };
  }
  return options;
}

Result<mcp::Connection> open_mcp_server(const agents::McpServerSpec& server,
                                        const agents::Fleet& fleet, sandbox::ZygoteRunner& runner,
                                        http::Client& client, std::shared_ptr<mcp::OAuth> auth) {
  mcp::Connection connection;
  if (!server.url.empty()) {
    mcp::HttpTarget target{server.url, server.headers, std::move(auth)};
    auto transport = mcp::HttpTransport::make(client, std::move(target));
    if (!transport) return Err(std::move(transport).error().context("MCP server " + server.name));
    connection.transport = std::move(*transport);
    return connection;
  }
  auto same = mcp::check_files(server.file_pins);
  if (!same) return Err(std::move(same).error().context("MCP server " + server.name));
  agents::JailCall call;
  call.profile = *fleet.profile(server.profile);
  if (call.profile.level != "compute") {
    call.profile.read_paths.push_back(server.directory);
    if (server.command.starts_with('/')) call.profile.read_paths.push_back(server.command);
  }
  call.command.push_back(server.command);
  call.command.insert(call.command.end(), server.arguments.begin(), server.arguments.end());
  call.environment = server.environment;
  call.directory = call.profile.level == "compute" ? "/tmp" : server.directory;
  auto started = runner.start(std::move(call));
  if (!started) return Err(std::move(started).error().context("MCP server " + server.name));
  std::shared_ptr<sandbox::JailedProcess> process = std::move(*started);
  connection.input = &process->input();
  connection.output = &process->output();
  connection.errors = &process->errors();
  connection.owner = std::move(process);
  return connection;
}

http::CurlOptions mcp_http_options() {
  http::CurlOptions options;
  options.silence_timeout = std::chrono::minutes(15);
  return options;
}

}  // namespace ambit::app
