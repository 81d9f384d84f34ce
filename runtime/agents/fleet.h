#pragma once

// The fleet file: what a platform engineer writes. JSON with comments, names as other hosts spell
// them (mcpServers, inputSchema, maxTurns). parse_fleet() finds every mistake in one pass, each
// with its path, line and column; a Fleet without problems is complete: names resolve, patterns are
// known, limits have values. fleet.schema.json beside this file says the same for editors.

#include "agents/document.h"
#include "agents/graph.h"
#include "agents/memory.h"
#include "agents/ports.h"

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ambit::agents {

struct Problem {
  std::string path;  // "agents.clerk.tools[2]"
  int line = 0;
  int column = 0;
  std::string message;
  std::string file{};  // where it is, if that is an included file
  friend bool operator==(const Problem&, const Problem&) = default;
};

struct Limits {
  std::int64_t turns = 16;
  std::int64_t tool_calls = 32;
  std::int64_t tokens = 32'768;  // input not counted twice: new input plus output
  std::int64_t wall_ms = 120'000;
  std::int64_t money_micros = -1;  // millionths of a dollar
  std::int64_t descendants = 64;   // sessions that it delegates to, at any depth
  friend bool operator==(const Limits&, const Limits&) = default;
};

// Dollars for a million tokens, which is millionths of a dollar for one.
struct Price {
  double input = 0;
  double cached_input = 0;
  double output = 0;
  [[nodiscard]] bool is_free() const { return input == 0 && cached_input == 0 && output == 0; }
  // Rounded up.
  [[nodiscard]] std::int64_t micros_of(const Usage& usage) const;
  friend bool operator==(const Price&, const Price&) = default;
};

// Embedded (a GGUF file or a Hugging Face folder), or remote (`base_url` is not empty): an
// OpenAI-compatible endpoint.
struct ModelSpec {
  std::string name;
  std::string file;  // absolute
  Sampling sampling;
  std::int64_t tokens_max = 256;    // of one turn
  std::int64_t context_max = 4096;  // of one session
  std::string base_url;             // "https://api.example.com/v1"
  std::string remote_name;          // what the endpoint calls it
  std::string key_variable;         // the environment variable with its key, which is not kept here
  Price price{};
  std::vector<std::string> fallback{};  // models to try, in order, when this one cannot answer
  std::int64_t at_once_max = 0;         // requests under way; 0: any number
  std::string script{};                 // absolute; a model that says what this file tells it to
  bool is_local = true;                 // what it reads does not leave this machine
  // Of an embedded one: what computes it ("cpu", "cuda", "cuda:1", "auto") and with which weights
  // ("file": as they are there; "fp8": floats become 8-bit floats), what keys and values are kept
  // as ("f16", "q8" or "fp8"), their bytes in memory, in the host's of those that a GPU's cannot
  // hold, and on disk of the rest; 0: none.
  std::string device = "cpu";
  std::string prefill_device{};  // another GPU for prompts; empty: the same one
  std::string weights = "file";
  bool parks = true;  // on a GPU: they may leave it while others need the room
  std::string kv_type = "f16";
  std::int64_t kv_memory = std::int64_t{1} << 30U;
  std::int64_t kv_host = 0;
  std::int64_t kv_disk = 0;
};

// Models that can do the same work: an agent with "model": "@planner" gets those of the role
// "planner", each turn the one that goes first then (route.h).
struct RoleSpec {
  std::string name;
  std::vector<std::string> models;
  std::string sort = "listed";  // by what they are ordered: "listed", "price" or "latency"
  std::int64_t latency_ms = 0;  // who takes longer comes after those who do not; 0: no matter
  friend bool operator==(const RoleSpec&, const RoleSpec&) = default;
};

// How we come to a token of a server over HTTP without a person; mcp/oauth.h says what each grant
// is.
struct McpLoginSpec {
  std::string grant;  // "client_credentials", "jwt_bearer" or "enterprise"
  std::string client_id;
  std::string secret_variable;    // the environment variable of its secret
  std::string key_file;           // absolute; a private key in PEM, in place of a secret
  std::string assertion_file;     // absolute; a JWT, read anew for each token
  std::string identity_endpoint;  // enterprise: the token endpoint of the person's company
  std::string identity_client;    // and who we are there
};

struct McpServerSpec {
  std::string name;
  std::string command;
  std::vector<std::string> arguments;
  std::vector<std::pair<std::string, std::string>> environment;
  std::string directory;        // absolute
  std::string profile;          // which jail it lives in
  std::string jail = "shared";  // or "agent": one for each, or "call": one for each call
  std::string url;              // of a server over HTTP; then there is no command and no jail
  std::vector<std::pair<std::string, std::string>> headers;  // with every request
  std::optional<McpLoginSpec> login;                         // to a server over HTTP
  std::string socket{};  // absolute; of a server on a Unix socket: no command and no jail either
  std::string user{};    // whom that server must run as; empty: who runs us, or root
  // Absolute paths of files that it is made of, each with its SHA-256 as hex.
  std::vector<std::pair<std::string, std::string>> file_pins{};
};

// A folder with a SKILL.md (Agent Skills): to agents and policies the tool "skill__NAME".
struct SkillSpec {
  std::string name;       // of the folder, and of the skill in it
  std::string directory;  // absolute
  friend bool operator==(const SkillSpec&, const SkillSpec&) = default;
};

// What is kept whole of results that are too large for a conversation (artifacts.h).
struct ArtifactSpec {
  std::int64_t bytes_max = 4 << 20;   // of one
  std::int64_t total_max = 64 << 20;  // of one run
  friend bool operator==(const ArtifactSpec&, const ArtifactSpec&) = default;
};
inline constexpr std::string_view artifact_tool = "artifact__read";

struct CommandToolSpec {
  ToolSpec spec;
  std::vector<std::string> command;  // may hold ${argument}, ${workdir}, ${fleetdir}
  std::string input;                 // stdin, a template as well
  std::string profile;
};

// How an agent is offered to callers from outside, over A2A.
struct Exposure {
  std::string version = "1";
  std::vector<std::string> tags;
  std::vector<std::string> examples;
};

// When a conversation gives way to its summary, and how much of it stays.
struct CompactionSpec {
  double threshold = 0.75;        // of the model's window; with the answer that is to come
  double keep = 0.25;             // of the window, for the newest turns
  std::int64_t tokens_max = 512;  // of the summary
  std::string instructions =
      "Sum up the conversation so far for yourself, so that you can go on with your task from the "
      "summary alone: what was asked, what was found and where, what was done and with what "
      "result, what is still to do. Keep names, numbers and identifiers exactly as they are.";
  friend bool operator==(const CompactionSpec&, const CompactionSpec&) = default;
};

struct AgentSpec {
  std::string name;
  std::string description;
  std::string instructions;
  std::string model;               // of a role the first one that it may have
  std::vector<std::string> tools;  // names; a trailing * stands for the rest
  std::vector<std::string> disallowed_tools;
  std::vector<std::string> memory{};  // stores that it has; their tools are among `tools`
  std::string owner;                  // who is answerable, and who answers escalations
  Limits limits;
  int priority = 0;                       // among agents of its class
  std::optional<LatencyClass> latency{};  // absent: of whoever called it; then normal
  std::string output_schema{};      // JSON Schema that its answers are held to; empty: free text
  bool local_only = false;          // its data never leaves this machine
  std::int64_t autonomy_level = 1;  // to begin with: 1 (a person does it) to 5 (nobody watches)
  std::optional<Exposure> a2a;      // absent: only this fleet can call it
  std::optional<CompactionSpec> compaction{};  // absent: a full window is an error
  // Which fleet file it is from, as its sessions' records say; empty: it is not said.
  std::string definition{};
  std::string role{};  // its models are those of this role; empty: `model` and its fallbacks
  bool offers(std::string_view tool) const;
};

// An agent elsewhere that agents of the fleet may give tasks to, over A2A.
struct RemoteAgentSpec {
  std::string name;
  std::string card_url;        // its card's, or the agent's own
  std::string token_variable;  // the environment variable with its bearer token, which is not kept
  std::string keys_file;       // absolute; a JWKS: the card must be signed by one of these keys
  friend bool operator==(const RemoteAgentSpec&, const RemoteAgentSpec&) = default;
};

// What is done with every record of a JSON Lines file.
struct Workflow {
  std::string agent;  // the first one; of "single" the only one; empty: there is no workflow
  std::string
      inputs;  // absolute path of the JSON Lines file; empty: one run with `prompt` as it is
  std::string id = "id";  // the field that names a record
  std::string prompt;     // ${field} is replaced from the record
  std::int64_t concurrency = 256;
  std::string subject{};  // a template as well: whose data the record is
  std::string pattern = "single";
  Graph graph{};
};

// A bound with a memory, over more than one session.
struct QuotaSpec {
  std::string name;
  std::string per = "run";         // session, agent, tool, run, principal, fleet
  std::string measure = "calls";   // calls, tokens, money (dollars)
  std::int64_t most = 0;           // money: millionths
  std::int64_t window_ms = 0;      // 0: as long as that lives which it is per
  std::int64_t at_once_most = -1;  // calls under way; -1: any number
  std::string tool;                // of this tool, or this agent, alone; empty: of all
  std::string agent;
  friend bool operator==(const QuotaSpec&, const QuotaSpec&) = default;
};

// What is done about agents that repeat themselves and tools that keep failing; 0: nothing.
struct Guards {
  std::int64_t same_calls_max = 0;
  std::int64_t same_cycles_max = 0;
  std::int64_t failures_max = 0;
  std::int64_t cool_down_ms = 30'000;
  friend bool operator==(const Guards&, const Guards&) = default;
};

// What the operator says of a tool, or of all whose names begin like this ("mcp__mail__*").
struct ToolFactsSpec {
  std::string tool;
  bool trusted = false;                       // its results are vouched for
  std::vector<std::string> trusted_fields{};  // or these members of them (JSON)
  std::string reversibility{};                // empty: by what the tool says of itself
  std::string risk = "medium";
  std::string effect = "tool_call";  // what its call is: "message", "memory_write", ...
  friend bool operator==(const ToolFactsSpec&, const ToolFactsSpec&) = default;
};

// Who may answer from when on, beside the owner, who may at once.
struct ApprovalLevelSpec {
  std::int64_t after_ms = 0;
  std::vector<std::string> people;
  friend bool operator==(const ApprovalLevelSpec&, const ApprovalLevelSpec&) = default;
};

// What the record never gets to hold: members of JSON, or kinds of text ("email", "number",
// "secret").
struct RedactionSpec {
  std::string of;          // "prompt", "instructions", "message", "arguments", "result", "*"
  std::string tool = "*";  // whose arguments and results
  std::vector<std::string> paths;
  std::vector<std::string> patterns;
  friend bool operator==(const RedactionSpec&, const RedactionSpec&) = default;
};

struct Fleet {
  std::string name;
  std::string source;     // the text of the file, with what it includes in it
  std::string directory;  // absolute: where the file lies; relative paths start here
  std::vector<ModelSpec> models;
  std::vector<RoleSpec> roles{};
  std::vector<McpServerSpec> mcp_servers;
  std::vector<CommandToolSpec> tools;
  std::vector<SkillSpec> skills{};
  std::vector<MemorySpec> memories{};
  std::optional<ArtifactSpec> artifacts{};  // absent: the rest of what is cut is lost
  std::vector<Profile> profiles;            // presets first, then the file's own
  std::vector<AgentSpec> agents;
  std::vector<RemoteAgentSpec> remote_agents{};
  std::vector<std::string> policies;  // absolute paths
  Limits limits;                      // of a whole run; -1 = without limit
  int depth_max = 4;                  // of sessions that delegate to sessions
  std::vector<QuotaSpec> quotas;
  Guards guards;
  std::int64_t approval_ms = 15 * 60'000;            // no answer by then is a no
  std::vector<ApprovalLevelSpec> approval_levels{};  // after the owner; empty: all may answer
  std::string approval_url{};                        // who is told of approvals; empty: nobody
  std::string approval_secret{};                     // the environment variable of its secret
  std::vector<ToolFactsSpec> tool_facts{};
  bool evaluate_only = false;  // policies say what they would do, and nothing is refused by them
  std::vector<RedactionSpec> redactions{};
  std::string tool_pins;  // absolute path of the pinned definitions; empty: none
  Workflow workflow;

  [[nodiscard]] const ModelSpec* model(std::string_view name) const;
  [[nodiscard]] const RoleSpec* role(std::string_view name) const;
  // All models that may take the agent's turns, in the order in which they are named.
  [[nodiscard]] std::vector<std::string> models_of(const AgentSpec& agent) const;
  [[nodiscard]] const AgentSpec* agent(std::string_view name) const;
  [[nodiscard]] const Profile* profile(std::string_view name) const;
};

struct FleetContext {
  std::string directory;  // absolute
  // Text of a file to include. Absent: nothing can be included.
  std::function<Result<std::string>(const std::string& path)> read_file{};
  // Is there such a file? Absent: not looked.
  std::function<bool(const std::string& path)> file_exists;
  std::function<std::optional<std::string>(const std::string& name)> environment;
};

struct FleetFile {
  Fleet fleet;
  std::vector<Problem> problems;  // empty: the fleet is sound
};
FleetFile parse_fleet(std::string_view text, const FleetContext& context);

// The path in "unix:///path": absolute, and short enough for the kernel. It is taken as it stands.
Result<std::string> socket_path(std::string_view url);

// The presets that a file can name or extend: compute, fs-read, fs-write, net.
std::vector<Profile> preset_profiles();

// The key nearest to `wrong`, if it is near enough to be what was meant.
std::optional<std::string> suggestion(std::string_view wrong,
                                      const std::vector<std::string>& known);

// Replaces ${name} by what `value` gives; an unknown name is an error. "$${" stands for "${".
Result<std::string> expand(
    std::string_view text,
    const std::function<std::optional<std::string>(std::string_view)>& value);

}  // namespace ambit::agents
