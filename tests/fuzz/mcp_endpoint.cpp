// Any bytes on a connection to an MCP endpoint: it answers or closes, and a modern call is never
// made that its headers do not repeat, once each.

#include "async/check.h"
#include "async/race.h"
#include "http/request_parser.h"
#include "http/server.h"
#include "mcp/http_endpoint.h"
#include "mcp/tool_headers.h"
#include "sim_world.h"
#include "support/run_task.h"

#include <nlohmann/json.hpp>

#include <cstdint>
#include <utility>
#include <vector>

using namespace ambit;

namespace {

constexpr std::size_t answer_bytes_max = 1 << 20;

sim::Faults calm() {
  sim::Faults faults;
  faults.latency_max = faults.latency_min;
  return faults;
}

// What was called, and how the text reads in a header.
struct Made {
  mcp::Era era = mcp::Era::legacy;
  std::string to;
};

Task<Result<rpc::Value>> pay(std::vector<Made>& made, rpc::Value arguments, mcp::Call& call) {
  made.push_back({call.era(), arguments.json().value("to", "")});
  co_return rpc::Value(rpc::Json::parse(R"({"content":[{"type":"text","text":"paid"}]})"));
}

Task<int> talk(io::Network& network, std::string address, std::string bytes, std::string& answer) {
  auto stream = co_await network.connect(std::move(address));
  INVARIANT(stream.has_value());
  auto written = co_await (*stream)->write(std::move(bytes));
  (*stream)->shutdown_write();
  while (written && answer.size() < answer_bytes_max) {
    auto part = co_await (*stream)->read(64 << 10);
    if (!part || part->empty()) break;
    answer += *part;
  }
  co_return 0;
}
Task<int> patience() {
  co_await delay(std::chrono::seconds(60));
  co_return 1;
}
Task<int> talk_for_a_while(io::Network& network, std::string address, std::string bytes,
                           std::string& answer) {
  auto done =
      co_await race(talk(network, std::move(address), std::move(bytes), answer), patience());
  co_return static_cast<int>(done.index());
}

bool says(const http::Headers& headers, std::string_view name, std::string_view text) {
  if (headers.count(name) != 1) return false;
  const auto said = mcp::decode_header(*headers.find(name));
  return said && *said == text;
}

// Some request on the connection has headers for this call.
bool is_repeated(std::string_view bytes, const Made& made) {
  http::RequestParser parser{http::RequestLimits()};
  while (!bytes.empty() && parser.state() != http::RequestParser::State::refused) {
    parser.feed(bytes.substr(0, 1));
    bytes.remove_prefix(1);
    (void)parser.take_body();
    if (parser.state() != http::RequestParser::State::done) continue;
    const http::Headers& headers = parser.head().headers;
    if (says(headers, "Mcp-Method", "tools/call") && says(headers, "Mcp-Name", "pay") &&
        says(headers, "Mcp-Param-To", made.to)) {
      return true;
    }
    parser.next();
  }
  return false;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string bytes(reinterpret_cast<const char*>(data), size);
  sim::SimWorld world(7, calm());
  std::vector<Made> made;
  mcp::Server server(world.world().clock, world.world().entropy, {});
  mcp::ServerTool tool;
  tool.definition = rpc::Json::parse(R"({"name":"pay","inputSchema":{"type":"object",
      "properties":{"to":{"type":"string","x-mcp-header":"To"}},"required":["to"]}})");
  tool.run = [&made](rpc::Value arguments, mcp::Call& call) {
    return pay(made, std::move(arguments), call);
  };
  INVARIANT(server.add(std::move(tool)).has_value());
  mcp::HttpEndpoint endpoint(server, world.world().entropy, {});
  auto listening = http::Server::listen(world.world(), {}, [&endpoint](http::Exchange& exchange) {
    return endpoint.handle(exchange);
  });
  INVARIANT(listening.has_value());
  std::string answer;
  run_task(world.loop(), talk_for_a_while(world.network(), (*listening)->address(), bytes, answer));
  INVARIANT(answer.empty() || answer.starts_with("HTTP/1.1 "));
  for (const Made& one : made) {
    INVARIANT(one.era == mcp::Era::legacy || is_repeated(bytes, one));
  }
  return 0;
}
