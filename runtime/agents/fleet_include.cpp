#include "agents/fleet_include.h"

#include "agents/fleet_reader.h"

#include <algorithm>
#include <memory>
#include <string>
#include <utility>

namespace ambit::agents {
namespace {

constexpr std::size_t include_depth_max = 8;
constexpr std::size_t included_files_max = 100;
const std::vector<std::string> named_sections = {"profiles", "models", "roles",     "mcpServers",
                                                 "tools",    "agents", "toolFacts", "memory"};

void come_from(Node& node, const std::shared_ptr<const std::string>& file) {
  node.file = file;
  for (Node& item : node.items) come_from(item, file);
  for (Node::Member& member : node.members) come_from(member.value, file);
}

Node* section_of(Node& root, const std::string& name) {
  const auto at = std::find_if(root.members.begin(), root.members.end(),
                               [&](const auto& member) { return member.key == name; });
  return at == root.members.end() ? nullptr : &at->value;
}

// `path` as a file in `directory` names it, without "./" and "../".
std::string path_from(std::string directory, std::string_view path) {
  if (path.starts_with('/')) return std::string(path);
  while (path.starts_with("./") || path.starts_with("../")) {
    if (path.starts_with("../")) {
      directory.resize(std::min(directory.size(), directory.find_last_of('/')));
    }
    path.remove_prefix(path.find('/') + 1);
  }
  return directory + "/" + std::string(path);
}

class Includer {
 public:
  Includer(Node& root, const FleetContext& context, std::vector<Problem>& problems)
      : root_(root), context_(context), problems_(problems) {}

  void include(const Node& list, const std::string& directory) {
    if (list.kind != Node::Kind::array) {
      return report(list, "include", R"(expected an array of files such as ["models.json"])");
    }
    for (std::size_t i = 0; i < list.items.size(); ++i) {
      const Node& item = list.items[i];
      const std::string path = "include[" + std::to_string(i) + "]";
      if (item.kind == Node::Kind::string) {
        file(item, path, path_from(directory, item.string));
      } else {
        report(item, path, "expected the path of a file");
      }
    }
  }

 private:
  void report(const Node& node, const std::string& path, std::string message) {
    Reader(problems_, root_, "").report(node, path, std::move(message));
  }

  void file(const Node& item, const std::string& path, const std::string& full) {
    const auto again = std::find(open_.begin(), open_.end(), full);
    if (again != open_.end()) {
      std::string round;
      for (auto at = again; at != open_.end(); ++at) round += *at + " includes ";
      return report(item, path, "the includes go round: " + round + full);
    }
    if (std::find(done_.begin(), done_.end(), full) != done_.end()) {
      return report(item, path, "\"" + full + "\" is included already");
    }
    if (open_.size() >= include_depth_max || done_.size() >= included_files_max) {
      return report(item, path,
                    "too many includes: at most " + std::to_string(include_depth_max) +
                        " deep and " + std::to_string(included_files_max) + " files in all");
    }
    auto text = context_.read_file
                    ? context_.read_file(full)
                    : Result<std::string>(Err(Code::unsupported, "nothing can be included here"));
    if (!text) return report(item, path, text.error().message);
    auto document = parse_document(*text);
    if (!document) return report(item, path, full + ": " + document.error().message);
    come_from(*document, std::make_shared<const std::string>(full));
    if (document->kind != Node::Kind::object) {
      return report(
          *document, "",
          "expected an object but found " + std::string(agents::to_string(document->kind)));
    }
    done_.push_back(full);
    open_.push_back(full);
    take(std::move(*document), full.substr(0, full.rfind('/')));
    open_.pop_back();
  }

  void take(Node document, const std::string& directory) {
    for (Node::Member& member : document.members) {
      if (member.key == "$schema") continue;
      if (member.key == "include") {
        include(member.value, directory);
      } else if (member.key == "policies" || member.key == "skills") {
        add(member, &Node::items, Node::Kind::array);
      } else if (std::find(named_sections.begin(), named_sections.end(), member.key) !=
                 named_sections.end()) {
        add(member, &Node::members, Node::Kind::object);
      } else {
        report(member.value, member.key,
               "an included file holds " + list_of(named_sections) +
                   ", policies, skills and include; write this into the fleet file itself");
      }
    }
  }

  // What is there twice is found where it stands.
  template <class List>
  void add(Node::Member& from, List Node::* list, Node::Kind kind) {
    if (from.value.kind != kind) {
      return report(from.value, from.key,
                    "expected " + std::string(agents::to_string(kind)) + " but found " +
                        std::string(agents::to_string(from.value.kind)));
    }
    Node* into = section_of(root_, from.key);
    if (into == nullptr) {
      root_.members.push_back(std::move(from));
      return;
    }
    if (into->kind != kind) return;  // the reader reports it
    for (auto& item : from.value.*list) {
      if constexpr (std::is_same_v<List, std::vector<Node::Member>>) {
        if (const Node* there = into->find(item.key)) {
          const std::string where = there->file ? *there->file : std::string("the fleet file");
          report(item.value, from.key + "." + item.key,
                 "there is one of this name already, in " + where + ", line " +
                     std::to_string(there->line));
          continue;
        }
      }
      (into->*list).push_back(std::move(item));
    }
  }

  Node& root_;
  const FleetContext& context_;
  std::vector<Problem>& problems_;
  std::vector<std::string> open_;
  std::vector<std::string> done_;
};

}  // namespace

void put_in_includes(Node& root, const FleetContext& context, std::vector<Problem>& problems) {
  if (root.kind != Node::Kind::object) return;
  const auto at = std::find_if(root.members.begin(), root.members.end(),
                               [](const auto& member) { return member.key == "include"; });
  if (at == root.members.end()) return;
  const Node list = std::move(at->value);
  root.members.erase(at);
  Includer(root, context, problems).include(list, context.directory);
}

}  // namespace ambit::agents
