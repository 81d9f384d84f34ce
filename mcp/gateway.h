#pragma once

// Gateway: many upstream servers behind one Server. Tools and prompts are offered under one name
// for each server and item (offered_name), skills below the server's name, resources as they are.
// Results pass through unchanged, progress and cancellation too, and an upstream's question goes to
// the client whose call it belongs to, whichever eras the two speak: while a modern client fetches
// the answers the upstream's call waits here. What upstreams say has changed is listed again and
// told on; what clients subscribe to is subscribed to there. Definitions are pinned: what a server
// offers when it is first seen is approved, unless it hides characters or is very long; what it
// changes or adds later is withheld until somebody approves it. An upstream that cannot be reached
// makes every list an error, never a shorter list.

#include "async/channel.h"
#include "async/scope.h"
#include "mcp/client.h"
#include "mcp/server.h"
#include "mcp/skill.h"
#include "mcp/toolbox.h"

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

namespace ambit::mcp {

// The digests of approved definitions, by upstream and then by offered name. Kept by whoever owns
// the gateway.
using Pins = std::map<std::string, std::map<std::string, std::string>>;
Value to_value(const Pins& pins);
Result<void> from_value(const Value& value, Pins& out);

struct GatewayOptions {
  ClientOptions client;  // on_input and capabilities are the gateway's
  CallOptions call;
  std::size_t result_bytes_max = 8 << 20;
  std::size_t definition_bytes_max = 64 << 10;  // a longer one is withheld
  std::size_t questions_max = 16;               // that an upstream asks in one call
  std::size_t parked_max = 64;                  // calls of one upstream that wait for answers
  Duration park_time = std::chrono::minutes(15);
  Pins pins;  // of earlier runs
  // Whether this caller may call the tool or prompt that is offered so, or read the resource
  // ("mcp__SERVER__URI", with its "uri"), and with which arguments; an Error says why not. Null:
  // everybody, as they are. What nobody may call, Server's `offers` keeps out of lists.
  std::function<Result<Value>(const std::string& principal, const std::string& name,
                              Value arguments)>
      permits;
};

// A definition that is withheld.
struct Quarantined {
  std::string upstream;
  std::string name;  // as it would be offered; "prompt:" before a prompt's, "skill:" a skill's
  bool is_new = false;
  std::string why;  // "is new", "has changed", "hides characters", "is longer than ..."
  std::string digest;
  Value definition;
};

class Gateway {
 public:
  // The server must not be asked anything once the gateway has gone.
  Gateway(Server& server, GatewayOptions options);
  ~Gateway();
  Gateway(const Gateway&) = delete;
  Gateway& operator=(const Gateway&) = delete;

  void add(std::string name, Connect connect);
  // Connects to every upstream that is not there, lists it again, and offers what is approved. For
  // Server's before_list.
  Task<Result<void>> refresh();
  [[nodiscard]] const std::vector<Quarantined>& quarantined() const { return quarantined_; }
  // Of the last refresh: what cannot be offered at all, and why.
  [[nodiscard]] const std::vector<std::string>& problems() const { return problems_; }
  // Takes what is withheld under this name from the next refresh on. Code::not_found if nothing is.
  Result<void> approve(const std::string& name);
  [[nodiscard]] const Pins& pins() const { return options_.pins; }

 private:
  class Upstream;
  enum class Kind { tool, prompt, skill };
  // An upstream's item that is offered, and by which digest it was approved.
  struct Offer {
    std::string digest;
    Kind kind = Kind::tool;
    std::string raw;  // what the upstream calls it
  };
  Task<Result<void>> refresh_one(Upstream& upstream);
  Task<Result<void>> refresh_with(Upstream& upstream, std::shared_ptr<Client> client);
  Task<Result<void>> refresh_skills(Upstream& upstream, Client& client,
                                    std::set<std::string>& seen);
  Task<Result<Value>> read_skill_file(Upstream& upstream, SkillEntry entry, std::string theirs,
                                      std::string principal);
  // To the upstream, once the caller may: `name` is what it is to permits.
  Task<Result<Value>> pass(Upstream& upstream, std::string name, std::string method,
                           rpc::Json params, Call& call);
  Task<Result<void>> refresh_resources(Upstream& upstream, Client& client);
  Task<void> refresh_later(Upstream& upstream);
  void heard(Upstream& upstream, const std::string& method, const Value& params);
  void note_watched();
  Task<Result<Value>> complete(Value params, Call& call);
  Result<void> offer_tool(Upstream& upstream, const Client& client, const rpc::Json& definition,
                          std::set<std::string>& seen);
  Result<void> offer_prompt(Upstream& upstream, const rpc::Json& definition,
                            std::set<std::string>& seen);
  void offer_skill(Upstream& upstream, const SkillEntry& entry, std::set<std::string>& seen);
  void offer_resource(Upstream& upstream, const rpc::Json& definition, const char* key,
                      std::set<std::string>& seen);
  bool is_approved(Upstream& upstream, const std::string& name, const std::string& digest,
                   const rpc::Json& definition);
  void withdraw(Upstream& upstream, const std::string& name);
  [[nodiscard]] std::string suspicion(const rpc::Json& definition) const;

  Server& server_;
  GatewayOptions options_;
  std::vector<std::unique_ptr<Upstream>> upstreams_;
  std::vector<Quarantined> quarantined_;
  std::vector<std::string> problems_;
  Semaphore refreshing_{1};
  std::shared_ptr<int> here_ = std::make_shared<int>();  // for as long as we are
  Scope scope_;
};

}  // namespace ambit::mcp
