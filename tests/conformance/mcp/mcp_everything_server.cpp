// A server with every feature, as the official conformance suite wants to find it (names and texts
// are the suite's). On HTTP at the address of its first argument, "stdio" for its own stdin and
// stdout. It prints its URL and serves until it is killed.

#include "http/server.h"
#include "io/uv_world.h"
#include "mcp/http_endpoint.h"
#include "mcp/stdio_server.h"

#include <nlohmann/json.hpp>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <utility>

namespace ambit::mcp {
namespace {

using rpc::Json;

constexpr const char* pixel =
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg"
    "==";
constexpr const char* sound = "UklGRiYAAABXQVZFZm10IBAAAAABAAEAQB8AAAB9AAACABAAZGF0YQIAAAA=";

Json text_block(const std::string& text) {
  return {{"type", "text"}, {"text", text}};
}
Json image_block() {
  return {{"type", "image"}, {"data", pixel}, {"mimeType", "image/png"}};
}
Json resource_block(const std::string& uri, const std::string& type, const std::string& text) {
  return {{"type", "resource"}, {"resource", {{"uri", uri}, {"mimeType", type}, {"text", text}}}};
}
Value content_of(Json blocks) {
  return Json{{"content", std::move(blocks)}};
}

Json empty_schema() {
  return {{"type", "object"}, {"properties", Json::object()}};
}

Json string_form(const std::string& message, const std::string& field,
                 const std::string& type = "string") {
  Json schema = {{"type", "object"},
                 {"properties", {{field, {{"type", type}}}}},
                 {"required", Json::array({field})}};
  return {{"message", message}, {"requestedSchema", std::move(schema)}};
}

Json sampling(const std::string& text) {
  Json message = {{"role", "user"}, {"content", text_block(text)}};
  return {{"messages", Json::array({std::move(message)})}, {"maxTokens", 100}};
}

// A tool whose result never changes.
Handler always(Value result) {
  return [result = std::move(result)](Value /*arguments*/, Call& /*call*/) {
    return [](Value given) -> Task<Result<Value>> { co_return given; }(result);
  };
}

// Asks one question and says what came of it.
Handler asks(std::string key, std::string method, Json params) {
  Json questions = Json::object();
  questions[key] = {{"method", std::move(method)}, {"params", std::move(params)}};
  return [questions = Value(std::move(questions))](Value /*arguments*/, Call& call) {
    return [](Value asked, Call& to) -> Task<Result<Value>> {
      const Value answers = co_await ok(to.ask_all(std::move(asked)));
      co_return text_result("answered: " + answers.text());
    }(questions, call);
  };
}

Task<Result<Value>> fails(Value /*arguments*/, Call& /*call*/) {
  co_return Err(Code::internal, "This tool intentionally returns an error for testing");
}

Task<Result<Value>> logs(Value /*arguments*/, Call& call) {
  for (const char* what :
       {"Tool execution started", "Tool processing data", "Tool execution completed"}) {
    Value data = Json(what);
    co_await call.log("info", std::move(data));
    co_await delay(std::chrono::milliseconds(20));
  }
  co_return text_result("Tool with logging executed successfully");
}

Task<Result<Value>> progresses(Value /*arguments*/, Call& call) {
  for (const int done : {0, 50, 100}) {
    co_await call.progress(done, 100, "Completed step " + std::to_string(done) + " of 100");
    co_await delay(std::chrono::milliseconds(20));
  }
  co_return text_result("done");
}

Task<Result<Value>> reconnects(Value /*arguments*/, Call& call) {
  call.hang_up();
  co_await delay(std::chrono::milliseconds(100));
  co_return text_result("Reconnection test completed successfully.");
}

Task<Result<Value>> samples(Value arguments, Call& call) {
  Value question = sampling(arguments.json().value("prompt", "Hello"));
  const Value answer =
      co_await ok(call.ask("sample", "sampling/createMessage", std::move(question)));
  co_return text_result("LLM response: " + answer.text());
}

Task<Result<Value>> elicits(Value arguments, Call& call) {
  Value question = string_form(arguments.json().value("message", "What?"), "response");
  const Value answer = co_await ok(call.ask("user", "elicitation/create", std::move(question)));
  co_return text_result("User response: " + answer.text());
}

Task<Result<Value>> rounds(Value /*arguments*/, Call& call) {
  Value first = string_form("Step 1: What is your name?", "name");
  const Value name = co_await ok(call.ask("step1", "elicitation/create", std::move(first)));
  Value second = string_form("Step 2: What is your favorite color?", "color");
  const Value color = co_await ok(call.ask("step2", "elicitation/create", std::move(second)));
  co_return text_result(name.text() + " " + color.text());
}

// Asks only for what the client says that it can do.
Task<Result<Value>> asks_what_it_can(Value /*arguments*/, Call& call) {
  Json questions = Json::object();
  if (call.client_can("sampling")) {
    questions["sample"] = {{"method", "sampling/createMessage"}, {"params", sampling("Hello")}};
  }
  if (call.client_can("elicitation")) {
    questions["form"] = {{"method", "elicitation/create"}, {"params", string_form("Who?", "name")}};
  }
  const Value answers = co_await ok(call.ask_all(Value(std::move(questions))));
  co_return text_result("answered: " + answers.text());
}

Task<Result<Value>> prompt_with_input(Value /*arguments*/, Call& call) {
  Value question = string_form("What context should the prompt use?", "context");
  const Value answer =
      co_await ok(call.ask("user_context", "elicitation/create", std::move(question)));
  Json message = {{"role", "user"}, {"content", text_block("Context: " + answer.text())}};
  co_return Value(Json{{"messages", Json::array({std::move(message)})}});
}

Task<Result<Value>> prompt_with_arguments(Value arguments, Call& /*call*/) {
  const std::string text = "Prompt with arguments: arg1='" + arguments.json().value("arg1", "") +
                           "', arg2='" + arguments.json().value("arg2", "") + "'";
  Json message = {{"role", "user"}, {"content", text_block(text)}};
  co_return Value(Json{{"messages", Json::array({std::move(message)})}});
}

Task<Result<Value>> prompt_with_resource(Value arguments, Call& /*call*/) {
  Json first = {{"role", "user"},
                {"content", resource_block(arguments.json().value("resourceUri", ""), "text/plain",
                                           "Embedded resource content for testing.")}};
  Json second = {{"role", "user"}, {"content", text_block("Please process the resource above.")}};
  co_return Value(Json{{"messages", Json::array({std::move(first), std::move(second)})}});
}

Task<Result<Value>> read_template(Value where, Call& /*call*/) {
  const std::string uri = where.json()["uri"].get<std::string>();
  const std::string id = uri.substr(16, uri.rfind('/') - 16);
  const Json data = {{"id", id}, {"templateTest", true}, {"data", "Data for ID: " + id}};
  Json contents = {{"uri", uri}, {"mimeType", "application/json"}, {"text", data.dump()}};
  co_return Value(Json{{"contents", Json::array({std::move(contents)})}});
}

Task<Result<Value>> completes(Value /*params*/, Call& /*call*/) {
  co_return Value(
      Json{{"completion", {{"values", Json::array()}, {"total", 0}, {"hasMore", false}}}});
}

// ---- calls that become tasks

Task<Result<Value>> greets(Value arguments, Call& /*call*/) {
  co_return text_result("Hello, " + arguments.json().value("name", "") + "!");
}
Task<Result<Value>> computes(Value arguments, Call& call) {
  const double seconds = arguments.json().value("seconds", 0.0);
  if (seconds > 0) co_await call.detach();
  co_await delay(std::chrono::milliseconds(static_cast<std::int64_t>(seconds * 1000)));
  co_return text_result("computed for " + std::to_string(seconds) + " s");
}
Task<Result<Value>> fails_later(Value /*arguments*/, Call& call) {
  co_await call.detach();
  co_await delay(std::chrono::milliseconds(300));
  co_return Err(Code::internal, "the job has failed");
}
Task<Result<Value>> breaks_later(Value /*arguments*/, Call& call) {
  co_await call.detach();
  call.refuse(rpc::Fault{rpc::internal_error, "the job broke the protocol", {}});
  co_return text_result("");
}
Task<Result<Value>> confirms(Value arguments, Call& call) {
  co_await call.detach();
  Value question =
      string_form("Delete " + arguments.json().value("filename", "") + "?", "confirm", "boolean");
  const Value answer = co_await ok(call.ask("confirm", "elicitation/create", std::move(question)));
  co_return text_result("answered: " + answer.text());
}
Task<Result<Value>> asks_twice(Value /*arguments*/, Call& call) {
  co_await call.detach();
  Json questions = Json::object();
  for (const char* key : {"first", "second"}) {
    questions[key] = {{"method", "elicitation/create"}, {"params", string_form(key, "name")}};
  }
  const Value answers = co_await ok(call.ask_all(Value(std::move(questions))));
  co_return text_result("answered: " + answers.text());
}
// Asks before it becomes a task.
Task<Result<Value>> asks_then_works(Value /*arguments*/, Call& call) {
  Value question = string_form("What is your name?", "name");
  const Value answer =
      co_await ok(call.ask("user_name", "elicitation/create", std::move(question)));
  co_await call.detach();
  co_await delay(std::chrono::milliseconds(100));
  co_return text_result("worked for " + answer.text());
}

Json enum_form() {
  const auto titled = [](const char* value, const char* title) {
    return Json{{"const", value}, {"title", title}};
  };
  Json properties = {
      {"untitledSingle",
       {{"type", "string"}, {"enum", Json::array({"option1", "option2", "option3"})}}},
      {"titledSingle",
       {{"type", "string"},
        {"oneOf", Json::array({titled("value1", "First Option"), titled("value2", "Second Option"),
                               titled("value3", "Third Option")})}}},
      {"legacyEnum",
       {{"type", "string"},
        {"enum", Json::array({"opt1", "opt2", "opt3"})},
        {"enumNames", Json::array({"Option One", "Option Two", "Option Three"})}}},
      {"untitledMulti",
       {{"type", "array"},
        {"items", {{"type", "string"}, {"enum", Json::array({"option1", "option2", "option3"})}}}}},
      {"titledMulti",
       {{"type", "array"},
        {"items",
         {{"anyOf",
           Json::array({titled("value1", "First Choice"), titled("value2", "Second Choice"),
                        titled("value3", "Third Choice")})}}}}}};
  return {{"message", "Please select options from the enum fields"},
          {"requestedSchema", {{"type", "object"}, {"properties", std::move(properties)}}}};
}

Json default_form() {
  Json properties = {{"name", {{"type", "string"}, {"default", "John Doe"}}},
                     {"age", {{"type", "integer"}, {"default", 30}}},
                     {"score", {{"type", "number"}, {"default", 95.5}}},
                     {"status",
                      {{"type", "string"},
                       {"enum", Json::array({"active", "inactive", "pending"})},
                       {"default", "active"}}},
                     {"verified", {{"type", "boolean"}, {"default", true}}}};
  return {{"message", "Please review and update the form fields with defaults"},
          {"requestedSchema", {{"type", "object"}, {"properties", std::move(properties)}}}};
}

// Keywords that only JSON Schema 2020-12 has; they must reach the client as they are.
Json schema_of_2020_12() {
  return Json::parse(R"({"$schema":"https://json-schema.org/draft/2020-12/schema","type":"object",
    "$defs":{"address":{"$anchor":"addressDef","type":"object","properties":{
      "street":{"type":"string"},"city":{"type":"string"}}}},
    "properties":{"name":{"type":"string"},"address":{"$ref":"#/$defs/address"},
      "contactMethod":{"type":"string","enum":["phone","email"]},"phone":{"type":"string"},
      "email":{"type":"string"}},
    "allOf":[{"anyOf":[{"required":["phone"]},{"required":["email"]}]}],
    "if":{"properties":{"contactMethod":{"const":"phone"}},"required":["contactMethod"]},
    "then":{"required":["phone"]},"else":{"required":["email"]},"additionalProperties":false})");
}

class Everything {
 public:
  explicit Everything(io::World& world) : server_(world.clock, world.entropy, options()) {
    add_content_tools();
    add_asking_tools();
    add_changing_tools();
    add_slow_tools();
    add_resources();
    add_prompts();
    add_skills();
    server_.set_completion(completes);
  }
  Server& server() { return server_; }

 private:
  static ServerOptions options() {
    ServerOptions options;
    options.info = {"ambit-everything", "1.0.0"};
    options.caching = {60'000, "private"};
    return options;
  }

  void tool(const std::string& name, Handler run, Json schema = empty_schema(),
            std::vector<std::string> needs = {}) {
    Json definition = {
        {"name", name}, {"description", "Tests " + name}, {"inputSchema", std::move(schema)}};
    ServerTool made{Value(std::move(definition)), std::move(run), std::move(needs),
                    TaskSupport::none};
    INVARIANT(server_.add(std::move(made)).has_value());
  }

  void add_content_tools() {
    tool("test_simple_text", always(text_result("This is a simple text response for testing.")));
    tool("test_image_content", always(content_of(Json::array({image_block()}))));
    Json audio = {{"type", "audio"}, {"data", sound}, {"mimeType", "audio/wav"}};
    tool("test_audio_content", always(content_of(Json::array({std::move(audio)}))));
    tool(
        "test_embedded_resource",
        always(content_of(Json::array({resource_block("test://embedded-resource", "text/plain",
                                                      "This is an embedded resource content.")}))));
    tool("test_multiple_content_types",
         always(content_of(
             Json::array({text_block("Multiple content types test:"), image_block(),
                          resource_block("test://mixed-content-resource", "application/json",
                                         R"({"test":"data","value":123})")}))));
    tool("test_error_handling", fails);
    tool("test_tool_with_logging", logs);
    tool("test_logging_tool", logs);
    tool("test_tool_with_progress", progresses);
    tool("test_reconnection", reconnects);
    tool("json_schema_2020_12_tool", always(text_result("fits")), schema_of_2020_12());
    Json region = {{"type", "string"}, {"x-mcp-header", "Region"}};
    Json mirrored = {{"type", "object"}, {"properties", {{"region", std::move(region)}}}};
    tool("test_header_parameter", always(text_result("mirrored")), std::move(mirrored));
  }

  void add_asking_tools() {
    Json prompt = {{"type", "object"}, {"properties", {{"prompt", {{"type", "string"}}}}}};
    tool("test_sampling", samples, std::move(prompt));
    Json message = {{"type", "object"}, {"properties", {{"message", {{"type", "string"}}}}}};
    tool("test_elicitation", elicits, std::move(message));
    tool("test_elicitation_sep1034_defaults", asks("form", "elicitation/create", default_form()));
    tool("test_elicitation_sep1330_enums", asks("form", "elicitation/create", enum_form()));
    tool("test_missing_capability", always(text_result("Success")), empty_schema(), {"sampling"});
    tool("test_streaming_elicitation",
         asks("user_name", "elicitation/create", string_form("What is your name?", "name")));
    tool("test_input_required_result_elicitation",
         asks("user_name", "elicitation/create", string_form("What is your name?", "name")));
    tool("test_input_required_result_sampling", asks("capital_question", "sampling/createMessage",
                                                     sampling("What is the capital of France?")));
    tool("test_input_required_result_list_roots",
         asks("client_roots", "roots/list", Json::object()));
    for (const char* name : {"test_input_required_result_request_state",
                             "test_input_required_result_tampered_state"}) {
      tool(name,
           asks("confirm", "elicitation/create", string_form("Please confirm", "ok", "boolean")));
    }
    tool("test_input_required_result_multi_round", rounds);
    tool("test_input_required_result_capabilities", asks_what_it_can);
    Json several = {
        {"user_name",
         {{"method", "elicitation/create"}, {"params", string_form("What is your name?", "name")}}},
        {"greeting",
         {{"method", "sampling/createMessage"}, {"params", sampling("Generate a greeting")}}},
        {"client_roots", {{"method", "roots/list"}, {"params", Json::object()}}}};
    tool("test_input_required_result_multiple_inputs",
         [several = Value(std::move(several))](Value /*arguments*/, Call& call) {
           return [](Value asked, Call& to) -> Task<Result<Value>> {
             const Value answers = co_await ok(to.ask_all(std::move(asked)));
             co_return text_result("answered: " + answers.text());
           }(several, call);
         });
  }

  void add_slow_tools() {
    const auto slow = [this](const std::string& name, Handler run, Json properties,
                             TaskSupport support) {
      Json definition = {{"name", name},
                         {"description", "Tests " + name},
                         {"inputSchema", {{"type", "object"}, {"properties", properties}}}};
      ServerTool made{Value(std::move(definition)), std::move(run), {}, support};
      INVARIANT(server_.add(std::move(made)).has_value());
    };
    const Json none = Json::object();
    slow("greet", greets, Json{{"name", {{"type", "string"}}}}, TaskSupport::none);
    slow("slow_compute", computes,
         Json{{"seconds", {{"type", "number"}}}, {"label", {{"type", "string"}}}},
         TaskSupport::optional);
    slow("failing_job", fails_later, none, TaskSupport::required);
    slow("protocol_error_job", breaks_later, none, TaskSupport::optional);
    slow("confirm_delete", confirms, Json{{"filename", {{"type", "string"}}}},
         TaskSupport::optional);
    slow("multi_input", asks_twice, none, TaskSupport::optional);
    slow("test_tool_with_task", asks_then_works, none, TaskSupport::required);
  }

  void add_changing_tools() {
    tool("test_trigger_tool_change", [this](Value /*arguments*/, Call& /*call*/) {
      if (!server_.remove_tool("test_dynamic_tool")) {
        tool("test_dynamic_tool", always(text_result("here for now")));
      }
      return [](Value given) -> Task<Result<Value>> { co_return given; }(text_result("changed"));
    });
    tool("test_trigger_prompt_change", [this](Value /*arguments*/, Call& /*call*/) {
      if (!server_.remove_prompt("test_dynamic_prompt")) {
        Json definition = {{"name", "test_dynamic_prompt"}};
        prompt(std::move(definition), prompt_with_arguments);
      }
      return [](Value given) -> Task<Result<Value>> { co_return given; }(text_result("changed"));
    });
  }

  void resource(const std::string& uri, const std::string& name, const std::string& type,
                const char* key, const std::string& data) {
    Json definition = {{"uri", uri}, {"name", name}, {"mimeType", type}};
    Json contents = {{"uri", uri}, {"mimeType", type}};
    contents[key] = data;
    Json result = Json::object();
    result["contents"] = Json::array({std::move(contents)});
    ServerResource made{Value(std::move(definition)), always(Value(std::move(result)))};
    INVARIANT(server_.add(std::move(made)).has_value());
  }

  void add_skills() {
    std::map<std::string, std::string> files;
    files["SKILL.md"] =
        "---\nname: test-skill\ndescription: Tests skills\nlicense: Apache-2.0\nmetadata:\n"
        "  version: \"1.0\"\n---\n\n# Test\n\nRead `references/MORE.md`.\n";
    files["references/MORE.md"] = "More of it.\n";
    files["scripts/run.py"] = "print('hello')\n";
    auto skill = make_skill(std::move(files));
    INVARIANT(skill.has_value());
    ServerSkill made{std::make_shared<const Skill>(std::move(*skill)), nullptr};
    INVARIANT(server_.add(std::move(made)).has_value());
  }

  void add_resources() {
    resource("test://static-text", "static-text", "text/plain", "text",
             "This is the content of the static text resource.");
    resource("test://static-binary", "static-binary", "image/png", "blob", pixel);
    resource("test://watched-resource", "watched-resource", "text/plain", "text",
             "Watched resource content");
    Json definition = {{"uriTemplate", "test://template/{id}/data"},
                       {"name", "template"},
                       {"mimeType", "application/json"}};
    ServerResource made{Value(std::move(definition)), read_template};
    INVARIANT(server_.add(std::move(made)).has_value());
  }

  void prompt(Json definition, Handler get) {
    definition["description"] = "Tests " + definition["name"].get<std::string>();
    ServerPrompt made{Value(std::move(definition)), std::move(get)};
    INVARIANT(server_.add(std::move(made)).has_value());
  }

  static Handler messages(Json blocks) {
    Json all = Json::array();
    for (Json& block : blocks) all.push_back({{"role", "user"}, {"content", std::move(block)}});
    Json result = Json::object();
    result["messages"] = std::move(all);
    return always(Value(std::move(result)));
  }

  void add_prompts() {
    const auto argument = [](const char* name) {
      return Json{{"name", name}, {"description", "An argument"}, {"required", true}};
    };
    prompt(Json{{"name", "test_simple_prompt"}},
           messages(Json::array({text_block("This is a simple prompt for testing.")})));
    Json two = {{"name", "test_prompt_with_arguments"}};
    two["arguments"] = Json::array({argument("arg1"), argument("arg2")});
    prompt(std::move(two), prompt_with_arguments);
    Json one = {{"name", "test_prompt_with_embedded_resource"}};
    one["arguments"] = Json::array({argument("resourceUri")});
    prompt(std::move(one), prompt_with_resource);
    prompt(Json{{"name", "test_prompt_with_image"}},
           messages(Json::array({image_block(), text_block("Please analyze the image above.")})));
    prompt(Json{{"name", "test_input_required_result_prompt"}}, prompt_with_input);
  }

  Server server_;
};

int serve_stdio(io::UvWorld& world, Everything& everything) {
  auto in = world.world().network.adopt(0);
  auto out = world.world().network.adopt(1);
  if (!in || !out) {
    std::fprintf(stderr, "stdin and stdout must be pipes\n");
    return 1;
  }
  StdioServer server(everything.server(), **in, **out, "stdio");
  Scope scope;
  scope.spawn([](StdioServer& serving) -> Task<void> { co_await serving.run(); }(server));
  world.loop().run_until([&] { return scope.size() == 0; });
  return 0;
}

int serve(const std::string& where) {
  io::UvWorld world;
  Everything everything(world.world());
  if (where == "stdio") return serve_stdio(world, everything);
  HttpEndpointOptions options;
  options.retry = std::chrono::milliseconds(100);
  HttpEndpoint endpoint(everything.server(), world.world().entropy, options);
  http::ServerOptions listen;
  listen.address = where;
  auto server = http::Server::listen(
      world.world(), listen, [&](http::Exchange& exchange) { return endpoint.handle(exchange); });
  if (!server) {
    std::fprintf(stderr, "%s\n", server.error().message.c_str());
    return 1;
  }
  std::printf("http://%s/mcp\n", (*server)->address().c_str());
  std::fflush(stdout);
  world.loop().run();
  return 0;
}

}  // namespace
}  // namespace ambit::mcp

int main(int count, char** arguments) {
  return ambit::mcp::serve(count > 1 ? arguments[1] : "127.0.0.1:0");
}
