#pragma once

// A connection to one MCP server of a fleet: a program in its jail, or an HTTP endpoint. Used by
// `ambit run` and by the `ambit mcp` commands.

#include "agents/fleet.h"
#include "http/curl_client.h"
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

// Everything outlives the connection. `auth` logs in where a server over HTTP asks for it.
Result<mcp::Connection> open_mcp_server(const agents::McpServerSpec& server,
                                        const agents::Fleet& fleet, sandbox::ZygoteRunner& runner,
                                        http::Client& client,
                                        std::shared_ptr<mcp::OAuth> auth = nullptr);

// Tools may be silent for long: the bounds of a call are the caller's.
http::CurlOptions mcp_http_options();

}  // namespace ambit::app
