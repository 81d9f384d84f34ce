#pragma once

// A catalogue as large as those of large companies, and questions whose right tool is known: for
// the tests and the benchmark of tool search.

#include "rpc/value.h"

#include <nlohmann/json.hpp>

#include <fstream>
#include <string>
#include <vector>

namespace ambit::mcp {

struct Asked {
  std::string tool;
  std::string description;
  std::string question;
};

// 100 tools and a question each, written for this project (tests/data/mcp/README.md); empty: there
// is no such file.
inline std::vector<Asked> asked_questions(const std::string& path) {
  std::ifstream file(path);
  std::vector<Asked> all;
  for (std::string line; std::getline(file, line);) {
    const std::size_t first = line.find('|');
    const std::size_t second = line.find('|', first + 1);
    all.push_back({line.substr(0, first), line.substr(first + 1, second - first - 1),
                   line.substr(second + 1)});
  }
  return all;
}

inline rpc::Json definition(const std::string& name, const std::string& description) {
  return {{"name", name},
          {"description", description},
          {"inputSchema",
           {{"type", "object"},
            {"properties",
             {{"id", {{"type", "string"}, {"description", "which one"}}},
              {"limit", {{"type", "integer"}, {"description", "how many at most"}}}}}}}};
}

// The tools of the questions among as many others as make `count`: what large companies have.
inline std::vector<rpc::Json> large_catalogue(const std::vector<Asked>& questions,
                                              std::size_t count) {
  std::vector<rpc::Json> all;
  for (const Asked& one : questions) all.push_back(definition(one.tool, one.description));
  const std::vector<std::string> verbs = {"create", "get",    "list",    "update", "delete",
                                          "export", "import", "archive", "copy",   "validate"};
  const std::vector<std::string> things = {
      "campaign", "policy",  "warehouse", "shipment", "payroll", "survey", "lease",
      "contract", "asset",   "budget",    "vendor",   "rota",    "sensor", "batch",
      "sample",   "patient", "course",    "exam",     "fixture", "vehicle"};
  const std::vector<std::string> systems = {"sap",  "oracle", "workday",  "netsuite", "odoo",
                                            "zoho", "sage",   "dynamics", "infor",    "epicor"};
  for (const std::string& system : systems) {
    for (const std::string& thing : things) {
      for (const std::string& verb : verbs) {
        if (all.size() == count) return all;
        all.push_back(definition(system + "_" + verb + "_" + thing,
                                 "Lets you " + verb + " a " + thing + " record in " + system));
      }
    }
  }
  return all;
}

}  // namespace ambit::mcp
