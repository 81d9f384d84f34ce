#pragma once

// OpenaiDoor: the models of a fleet for every client that speaks OpenAI's API: /v1/models,
// /v1/chat/completions, /v1/completions, /v1/embeddings. Every request is a session of its own in
// the record and passes the gate as an action of the agent "openai", on behalf of its caller.

#include "agents/gate.h"
#include "app/assembly.h"
#include "app/openai_wire.h"
#include "http/exchange.h"

#include <cstdint>
#include <string>

namespace ambit::app {

class OpenaiDoor {
 public:
  // All is borrowed and outlives the door. `run` is of this process.
  OpenaiDoor(io::World& world, Assembly& assembly, std::string run);

  // A request whose path begins with /v1/, of a caller that is known.
  Task<void> handle(http::Exchange& exchange, std::string caller);
  // One whose caller is not.
  static Task<void> refuse(http::Exchange& exchange);

 private:
  class Session;
  struct Streamed;

  Task<void> chat(http::Exchange& exchange, std::string caller, bool is_chat);
  Task<void> answer_whole(http::Exchange& exchange, Session& session, ChatRequest request,
                          Answer answer);
  Task<void> answer_stream(http::Exchange& exchange, Session& session, ChatRequest request,
                           Answer answer);
  Task<void> embeddings(http::Exchange& exchange, std::string caller);
  agents::Model* model_of(const std::string& name, ApiError& error) const;
  [[nodiscard]] std::vector<std::string> model_names() const;
  Answer new_answer(const ChatRequest& request);

  io::World& world_;
  Assembly& assembly_;
  std::string run_;
  agents::Ports ports_;
  agents::AgentSpec agent_;  // whom the policies know the callers' requests as
  agents::Ledger ledger_;    // without a limit: quotas are what bounds callers
};

}  // namespace ambit::app
