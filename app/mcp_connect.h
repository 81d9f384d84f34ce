#pragma once

// A connection to one MCP server of a fleet: a program in its jail, a Unix socket, or an HTTP
// endpoint. Used by `ambit run` and by the `ambit mcp` commands.

#include "agents/fleet.h"
#include "http/curl_client.h"
#include "io/world.h"
#include "mcp/oauth.h"
#include "mcp/stdio.h"
#include "sandbox/runner.h"

#include <map>
#include <memory>
#include <string>

namespace ambit::app {

// How the fleet file says that a token for the server is come by; `environment` holds the secrets.
Result<mcp::OAuthOptions> login_options(const agents::McpLoginSpec& login,
                                        const std::map<std::string, std::string>& environment);

// By what servers are reached; all of it outlives the connections.
struct McpMeans {
  const agents::Fleet& fleet;  // has the profiles
  sandbox::ZygoteRunner& runner;
  http::Client& http;
  io::Network& network;
};

// `auth` logs in where a server over HTTP asks for it. Server and means outlive the connection.
Task<Result<mcp::Connection>> open_mcp_server(const agents::McpServerSpec& server,
                                              const McpMeans& means,
                                              std::shared_ptr<mcp::OAuth> auth);

// Tools may be silent for long: the bounds of a call are the caller's.
http::CurlOptions mcp_http_options();

}  // namespace ambit::app
