#pragma once

// Door: the console over HTTP: the page's files, its JSON under BASE/api/, and the live view as an
// event stream. It knows who asks (Access), lets them do what their role may, and asks the Desk on
// a worker, one question at a time: a slow search never holds up the fleet that runs beside it.

#include "agents/ports.h"
#include "async/channel.h"
#include "async/pending.h"
#include "async/scope.h"
#include "console/access.h"
#include "console/desk.h"
#include "http/exchange.h"
#include "io/world.h"

#include <functional>
#include <memory>
#include <string>
#include <string_view>

namespace ambit::console {

struct DoorOptions {
  std::string base = "/console";
  std::size_t waiting_max = 64;  // questions that wait; beyond that: 503
  std::size_t streams_max = 32;  // live views
  Duration live_interval = std::chrono::milliseconds(500);
};

class Door {
 public:
  // `journal`: where reviews are recorded; null: the desk writes its folder. World and journal must
  // outlive the door.
  Door(io::World& world, std::unique_ptr<Desk> desk, Access access, agents::Journal* journal,
       DoorOptions options = {});
  ~Door();
  Door(const Door&) = delete;
  Door& operator=(const Door&) = delete;

  // A link that logs this person in, once: "/console/login?code=...".
  std::string make_link(const Person& person);
  // An http::Handler for everything at the base and below it.
  Task<void> handle(http::Exchange& exchange);
  // Answers what was asked, then closes the record.
  Task<Result<void>> close();

 private:
  using Question = std::function<Result<std::string>(Desk&)>;
  struct Job;

  Task<Result<std::string>> ask(Question question);
  Task<void> work(std::shared_ptr<Job> job, Resolver<Result<std::string>> done);
  Task<Result<std::uint64_t>> record(agents::Event event);

  Task<void> give_file(http::Exchange& exchange, std::string name);
  Task<void> log_in(http::Exchange& exchange);
  Task<void> log_out(http::Exchange& exchange);
  Task<void> api(http::Exchange& exchange, std::string what, Person person);
  Task<void> write(http::Exchange& exchange, std::string what, Person person);
  Task<void> live(http::Exchange& exchange, Person person);
  Task<void> answer(http::Exchange& exchange, Result<std::string> result);
  std::optional<Person> person_of(const http::RequestHead& head);
  std::string secret();
  [[nodiscard]] std::int64_t now_ms() const;

  io::World& world_;
  std::shared_ptr<Desk> desk_;  // shared with the worker, which may outlive the door
  Access access_;
  agents::Journal* journal_;
  DoorOptions options_;
  std::size_t waiting_ = 0;
  std::size_t streams_ = 0;
  Semaphore place_{1};
  Scope scope_;
};

}  // namespace ambit::console
