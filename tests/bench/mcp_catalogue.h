#pragma once

// What a catalogue of 2,000 tools costs in the prompt, whole and behind the three tools that search
// it, and whether the search finds what 100 written questions mean.

#include "bench/figure.h"
#include "inference/gguf.h"
#include "inference/tokenizer.h"
#include "io/uv_world.h"
#include "mcp/large_catalogue.h"
#include "mcp/server.h"
#include "support/run_task.h"

#include <algorithm>
#include <chrono>
#include <string>
#include <utility>
#include <vector>

namespace ambit::bench {

// A client's tools/list or tools/call.
inline Task<rpc::Json> ask_server(mcp::Server& server, std::string method, rpc::Json params) {
  struct Deaf final : mcp::Wire {
    Task<Result<void>> notify(std::string /*method*/, rpc::Value /*params*/) override {
      co_return Result<void>();
    }
    Task<Result<rpc::Reply>> ask(std::string asked, rpc::Value /*params*/) override {
      co_return Err(Code::unsupported, asked);
    }
  } deaf;
  params["_meta"][mcp::meta_version] = mcp::modern_version;
  params["_meta"][mcp::meta_client_capabilities] = rpc::Json::object();
  rpc::Request request;
  request.id = std::int64_t{1};
  request.method = std::move(method);
  request.params = rpc::Value(std::move(params));
  const mcp::Answer answer =
      co_await server.answer(std::move(request), nullptr, deaf, std::string("bench"));
  co_return answer.reply.result.json();
}

// False: the questions or the vocabulary are not there.
inline bool catalogue_figures(io::UvWorld& world) {
  constexpr std::size_t tools = 2000;
  const auto questions = mcp::asked_questions(PROJECT_ROOT "/tests/data/mcp/tool_questions.txt");
  const auto file = inference::Gguf::open(PROJECT_ROOT "/examples/model/ambit-desk.gguf");
  if (questions.size() != 100 || !file) return false;
  const auto tokenizer = inference::Tokenizer::load(*file);
  if (!tokenizer) return false;
  const auto tokens = [&](const std::string& text) {
    return static_cast<double>(tokenizer->encode(text).size());
  };
  const std::vector<rpc::Json> all = mcp::large_catalogue(questions, tools);
  mcp::Server server(world.world().clock, world.world().entropy, {});
  mcp::ToolSearch search;
  std::string whole;
  for (const rpc::Json& definition : all) {
    whole += rpc::compact(definition);
    search.add(definition);
    mcp::ServerTool tool;
    tool.definition = rpc::Value(definition);
    if (!server.add(std::move(tool))) return false;
  }
  const auto asked = [&](const std::string& method, rpc::Json params) {
    return run_task(world.loop(), ask_server(server, method, std::move(params)));
  };
  const auto called = [&](const std::string& tool, const rpc::Json& arguments) {
    const rpc::Json result =
        asked("tools/call", rpc::Json{{"name", tool}, {"arguments", arguments}});
    return result["content"][0]["text"].get<std::string>();
  };
  const std::string shown = rpc::compact(asked("tools/list", rpc::Json::object())["tools"]);
  const double whole_tokens = tokens(whole);
  double used = 0;
  int first = 0;
  int in_five = 0;
  std::vector<double> us;
  for (const mcp::Asked& one : questions) {
    const auto begin = std::chrono::steady_clock::now();
    const auto found = search.find(one.question, 5);
    us.push_back(std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - begin)
                     .count());
    const auto at = std::find(found.begin(), found.end(), one.tool);
    first += !found.empty() && at == found.begin() ? 1 : 0;
    in_five += at != found.end() ? 1 : 0;
    used += tokens(called("search_tools", rpc::Json{{"query", one.question}})) +
            tokens(called("describe_tool", rpc::Json{{"name", one.tool}}));
  }
  const std::string what = "2,000 tools, ";
  const auto say = [&](const std::string& about, const std::string& unit, Better better,
                       double ours, Goal on, double goal) {
    print(Figure{"mcp", what + about, unit, better, ours, "", 0, on, goal});
  };
  say("all shown", "prompt tokens", Better::less, whole_tokens, Goal::none, 0);
  say("progressive, before a question", "prompt tokens", Better::less, tokens(shown), Goal::ours,
      whole_tokens / 100);
  say("progressive, a search and a description more", "prompt tokens", Better::less, used / 100,
      Goal::none, 0);
  say("100 questions", "right tool in the first 5", Better::more, in_five, Goal::ours, 95);
  say("100 questions", "right tool first", Better::more, first, Goal::none, 0);
  say("a search", "us p50", Better::less, quantile(us, 0.5), Goal::none, 0);
  return true;
}

}  // namespace ambit::bench
