#pragma once

// RemoteTools: agents somewhere else as tools of ours, each one more action for the gate. A call
// `agent__NAME` sends the task over A2A and gives the answer that the remote task comes to. It is
// sent under an id made from session and call, so that a call which is done again after a crash
// finds the task it began. Who stands behind it goes along: the person, the chain of agents so far,
// its depth, which is bounded here and by the agents that take our calls. It counts as a descendant
// of the session that calls.

#include "a2a/client.h"
#include "a2a/directory.h"
#include "agents/ports.h"
#include "agents/roster.h"

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace ambit::a2a {

// For whom, and through whom, something is asked. In the metadata of messages under `uri`.
struct Delegation {
  static constexpr const char* uri = "urn:ambit:a2a:delegation:1";
  std::string person;               // who is answerable
  std::vector<std::string> actors;  // who acts now first, then who asked that one, ...
  friend bool operator==(const Delegation&, const Delegation&) = default;
};
rpc::Json to_json(const Delegation& delegation);
// What a message's metadata says; none: nothing. An Error: it is said, but not soundly.
Result<std::optional<Delegation>> read_delegation(const rpc::Value& metadata);

struct RemoteSpec {
  std::string name;  // in the fleet file
  std::string card_url;
  std::string token;               // bearer; empty: none
  std::vector<jose::Key> trusted;  // where there are any, the card must be signed by one of them
};

// Who stands behind a session of the fleet. Its agents are called FLEET/AGENT out there.
Delegation delegation_of(const agents::Roster::Entry& session, const std::string& fleet);

struct RemoteToolsOptions {
  std::size_t depth_max = 4;  // actors of one delegation
  std::size_t answer_bytes_max = 64 << 10;
  http::Client* grpc = nullptr;  // as in ClientOptions
  // The sessions that may call, with their budgets; outlives the tools. Absent: any may.
  agents::Roster* roster = nullptr;
  std::string fleet;  // its name
  // Who stands behind a session of ours. Absent: as the roster says; nobody, without one.
  std::function<Delegation(const std::string& session)> delegation_of;
};

class RemoteTools final : public agents::Toolbox {
 public:
  // The client outlives it; deadlines are the caller's.
  RemoteTools(http::Client& http, std::vector<RemoteSpec> specs, RemoteToolsOptions options = {});
  ~RemoteTools() override;

  // Finds all cards. Code::unavailable names an agent that cannot be found.
  Task<Result<std::vector<agents::ToolSpec>>> list() override;
  // A call that is cancelled cancels the remote task as well, as far as it can be reached.
  Task<agents::Outcome> call(std::string session, agents::ToolCall call) override;

  // "agent__clerk"
  static std::string tool_name(const std::string& agent);

 private:
  struct Remote {
    RemoteSpec spec;
    std::unique_ptr<Directory> directory;
    std::unique_ptr<RemoteAgent> agent;
  };
  class Cancelling;
  Task<Result<void>> connect(Remote& remote);
  Task<agents::Outcome> delegate(Remote& remote, std::string session, agents::ToolCall call);
  Task<agents::Outcome> ask(Remote& remote, SendRequest request);
  Task<void> cancel(RemoteAgent& agent, std::string task_id);

  http::Client& http_;
  RemoteToolsOptions options_;
  std::map<std::string, Remote> remotes_;  // by tool name
  Scope cancelling_;
};

}  // namespace ambit::a2a
