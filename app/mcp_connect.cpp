#include "app/mcp_connect.h"

#include "io/file.h"
#include "mcp/http_transport.h"
#include "mcp/pinned_files.h"
#include "mcp/unix_socket.h"

#include <array>
#include <charconv>
#include <pwd.h>
#include <unistd.h>
#include <utility>

namespace ambit::app {
namespace {

constexpr std::size_t credential_bytes_max = 64 << 10;
constexpr std::uint32_t root = 0;

// Whose server on a socket is spoken to: the user that the file names, or ours and root's.
Result<std::vector<std::uint32_t>> users_of(const agents::McpServerSpec& server) {
  const std::uint32_t ours = ::geteuid();
  if (server.user.empty() && ours == root) return std::vector<std::uint32_t>{root};
  if (server.user.empty()) return std::vector<std::uint32_t>{ours, root};
  std::uint32_t number = 0;
  const char* end = server.user.data() + server.user.size();
  const auto [at, fault] = std::from_chars(server.user.data(), end, number);
  if (fault == std::errc() && at == end) return std::vector<std::uint32_t>{number};
  std::array<char, 16 << 10> bytes{};
  passwd entry{};
  passwd* found = nullptr;
  ::getpwnam_r(server.user.c_str(), &entry, bytes.data(), bytes.size(), &found);
  if (found != nullptr) return std::vector<std::uint32_t>{entry.pw_uid};
  return Err(Code::not_found, "this machine has no user \"" + server.user + "\"");
}

// A program in its jail.
Result<mcp::Connection> start_server(const agents::McpServerSpec& server, const McpMeans& means) {
  TRY(mcp::check_files(server.file_pins));
  agents::JailCall call;
  call.profile = *means.fleet.profile(server.profile);
  if (call.profile.level != "compute") {
    call.profile.read_paths.push_back(server.directory);
    if (server.command.starts_with('/')) call.profile.read_paths.push_back(server.command);
  }
  call.command.push_back(server.command);
  call.command.insert(call.command.end(), server.arguments.begin(), server.arguments.end());
  call.environment = server.environment;
  call.directory = call.profile.level == "compute" ? "/tmp" : server.directory;
  std::shared_ptr<sandbox::JailedProcess> process = TRY(means.runner.start(std::move(call)));
  mcp::Connection connection;
  connection.input = &process->input();
  connection.output = &process->output();
  connection.errors = &process->errors();
  connection.owner = std::move(process);
  return connection;
}

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

Task<Result<mcp::Connection>> open_mcp_server(const agents::McpServerSpec& server,
                                              const McpMeans& means,
                                              std::shared_ptr<mcp::OAuth> auth) {
  Result<mcp::Connection> connection = mcp::Connection();
  if (!server.socket.empty()) {
    mcp::UnixTarget target;
    target.path = server.socket;
    target.users = co_await ok(users_of(server));
    connection = co_await mcp::connect_unix(means.network, std::move(target));
  } else if (!server.url.empty()) {
    mcp::HttpTarget target{server.url, server.headers, std::move(auth)};
    auto transport = mcp::HttpTransport::make(means.http, std::move(target));
    if (transport) connection->transport = std::move(*transport);
    if (!transport) connection = Err(std::move(transport).error());
  } else {
    connection = start_server(server, means);
  }
  co_return std::move(connection);
}

http::CurlOptions mcp_http_options() {
  http::CurlOptions options;
  options.silence_timeout = std::chrono::minutes(15);
  return options;
}

}  // namespace ambit::app
