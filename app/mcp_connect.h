#pragma once

// A connection to one MCP server of a fleet: a program in its jail, or an HTTP endpoint. Used by
// `ambit run` and by the `ambit mcp` commands.

#include "agents/fleet.h"
#include "http/curl_client.h"
#include "mcp/oauth.h"
#include "mcp/stdio.h"
#include "sandbox/runner.h"

#include <memory>

namespace ambit::app {

// Everything outlives the connection. `auth` logs in where a server over HTTP asks for it.
Result<mcp::Connection> open_mcp_server(const agents::McpServerSpec& server,
                                        const agents::Fleet& fleet, sandbox::ZygoteRunner& runner,
                                        http::Client& client,
                                        std::shared_ptr<mcp::OAuth> auth = nullptr);

// Tools may be silent for long: the bounds of a call are the caller's.
http::CurlOptions mcp_http_options();

}  // namespace ambit::app
