#pragma once

// What `ambit serve` keeps from one start to the next beside the record: the key that signs cards
// and push notifications; and the tasks, which it takes from the record.

#include "a2a/journal_store.h"
#include "async/log.h"
#include "jose/key.h"
#include "log/journal.h"

#include <memory>
#include <string>

namespace ambit::app {

// STATE/card-key.pem, made at the first start.
Result<jose::Key> signing_key(const std::string& state);
// The tasks of an agent, folded from the record; one that cannot be is told of and left out.
Result<std::unique_ptr<a2a::JournalTaskStore>> restored_tasks(log::LogJournal& journal,
                                                              const std::string& agent, Log& log);

}  // namespace ambit::app
