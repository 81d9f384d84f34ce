#include "app/kept_tasks.h"

#include "a2a/task_fact.h"
#include "io/file.h"

namespace ambit::app {

Result<jose::Key> signing_key(const std::string& state) {
  const std::string path = state + "/card-key.pem";
  auto pem = io::read_file(path, 64 << 10);
  if (pem) {
    auto key = jose::Key::from_pem(*pem, "");
    if (!key) return Err(std::move(key).error().context(path));
    return key;
  }
  if (pem.error().code != Code::not_found) return Err(std::move(pem).error());
  jose::Key key = TRY(jose::Key::make(jose::Algorithm::es256, ""));
  const std::string text = TRY(key.pem());
  TRY(io::write_file(path, text, 0600));
  return key;
}

Result<std::unique_ptr<a2a::JournalTaskStore>> restored_tasks(log::LogJournal& journal,
                                                              const std::string& agent, Log& log) {
  log::Filter filter;
  filter.agent = agent;
  a2a::TaskRoll roll;
  TRY(journal.reader().for_each(filter, [&roll](const log::Leaf& leaf) {
    roll.follow(leaf.run, leaf.type, leaf.body);
    return true;
  }));
  auto store = std::make_unique<a2a::JournalTaskStore>(journal, agent);
  const auto restored = store->restore(roll.ids());
  for (const Error& error : restored.left_out) {
    log.warn("a2a.task_left_out",
             {{"agent", std::string_view(agent)}, {"why", std::string_view(error.message)}});
  }
  if (restored.gone > 0) {
    log.info("a2a.tasks_gone", {{"agent", std::string_view(agent)},
                                {"tasks", static_cast<std::int64_t>(restored.gone)},
                                {"why", std::string_view("erased, or expired")}});
  }
  return store;
}

}  // namespace ambit::app
