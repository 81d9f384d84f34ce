#pragma once

// Gateway: many upstream servers behind one Server. Tools and prompts are offered under one name
// for each server and item (offered_name), results pass through as they are, progress and
// cancellation too, and an upstream's question goes to the client whose call it belongs to.
// Definitions are pinned: what a server offers when it is first seen is approved, unless it hides
// characters or is very long; what it changes or adds later is withheld until somebody approves it.
// An upstream that cannot be reached makes every list an error, never a shorter list.

#include "async/channel.h"
#include "mcp/client.h"
#include "mcp/server.h"
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
  Pins pins;                                    // of earlier runs
};

// A definition that is withheld.
struct Quarantined {
  std::string upstream;
  std::string name;  // as it would be offered; "prompt:" before a prompt's
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
  // What one upstream item is called outside, and by which digest it was approved.
  struct Offer {
    std::string digest;
    bool is_prompt = false;
  };
  Task<Result<void>> refresh_one(Upstream& upstream);
  Result<void> offer_tool(Upstream& upstream, const rpc::Json& definition,
                          std::set<std::string>& seen);
  Result<void> offer_prompt(Upstream& upstream, const rpc::Json& definition,
                            std::set<std::string>& seen);
  Result<void> offer_resources(Upstream& upstream, const rpc::Json& all);
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
};

}  // namespace ambit::mcp
