#include "inference/engine.h"

#include "async/pending.h"

#include <condition_variable>
#include <mutex>
#include <thread>
#include <unordered_map>
#include <variant>

namespace ambit::inference {

// What the loop's thread and the engine's thread both know. The mailbox and the statistics are
// under the mutex; `waiters` and `last_ticket` belong to the loop's thread alone.
struct Engine::Shared {
  struct Submit {
    std::uint64_t ticket;
    agents::TurnRequest request;
  };
  struct Cancel {
    std::uint64_t ticket;
  };
  struct Observe {
    std::string session;
    agents::SessionEvent event;
  };
  using Letter = std::variant<Submit, Cancel, Observe>;

  explicit Shared(Loop& to) : loop(to) {}

  void send(Letter letter) {
    {
      const std::lock_guard lock(mutex);
      letters.push_back(std::move(letter));
    }
    wake.notify_one();
  }

  Loop& loop;
  std::thread thread;
  std::unordered_map<std::uint64_t, Resolver<Result<agents::Turn>>> waiters;
  std::uint64_t last_ticket = 0;

  std::mutex mutex;
  std::condition_variable wake;
  std::vector<Letter> letters;
  bool stopping = false;
  EngineStats stats;
};

namespace {

// The engine's thread: reads its mail between steps, sleeps when there is nothing to decode.
template <class Shared>
class Worker {
 public:
  Worker(std::shared_ptr<Shared> shared, std::unique_ptr<Decoder> decoder)
      : shared_(std::move(shared)), decoder_(std::move(decoder)) {}

  void run() {
    while (read_mail()) {
      ended_.clear();
      decoder_->step(ended_);
      publish();
      for (auto& [id, turn] : ended_) {
        const auto ticket = tickets_.extract(id);
        ids_.erase(ticket.mapped());
        reply(ticket.mapped(), std::move(turn));
      }
    }
  }

 private:
  // Before the answers of the step go out, so that whoever has one sees what it did.
  void publish() {
    const EngineStats stats = decoder_->stats();
    const std::lock_guard lock(shared_->mutex);
    shared_->stats = stats;
  }

  // False: time to stop.
  bool read_mail() {
    std::vector<typename Shared::Letter> letters;
    {
      std::unique_lock lock(shared_->mutex);
      shared_->wake.wait(lock, [this] {
        return shared_->stopping || !shared_->letters.empty() || !decoder_->idle();
      });
      if (shared_->stopping) return false;
      letters.swap(shared_->letters);
    }
    for (auto& letter : letters) std::visit([this](auto& of) { this->handle(of); }, letter);
    return true;
  }

  void handle(typename Shared::Submit& letter) {
    auto id = decoder_->submit(letter.request);
    if (!id) {
      reply(letter.ticket, Err(std::move(id).error()));
      return;
    }
    tickets_.emplace(*id, letter.ticket);
    ids_.emplace(letter.ticket, *id);
  }
  void handle(typename Shared::Cancel& letter) {
    const auto id = ids_.extract(letter.ticket);
    if (id.empty()) return;
    decoder_->cancel(id.mapped());
    tickets_.erase(id.mapped());
  }
  void handle(typename Shared::Observe& letter) { decoder_->observe(letter.session, letter.event); }

  void reply(std::uint64_t ticket, Result<agents::Turn> turn) {
    shared_->loop.post_from_thread([shared = shared_, ticket, turn = std::move(turn)]() mutable {
      auto waiter = shared->waiters.extract(ticket);
      if (!waiter.empty()) waiter.mapped().resolve(std::move(turn));
    });
  }

  std::shared_ptr<Shared> shared_;
  std::unique_ptr<Decoder> decoder_;
  std::vector<Decoder::Ended> ended_;
  std::unordered_map<std::uint64_t, std::uint64_t> tickets_;  // by the decoder's id
  std::unordered_map<std::uint64_t, std::uint64_t> ids_;      // by ticket
};

}  // namespace

// A request under way. Dies with the frame that waits for it: then nobody wants the answer.
class Engine::Ticket {
 public:
  Ticket(std::shared_ptr<Shared> shared, std::uint64_t number)
      : shared_(std::move(shared)), number_(number) {}
  Ticket(const Ticket&) = delete;
  Ticket& operator=(const Ticket&) = delete;
  ~Ticket() {
    if (shared_->waiters.erase(number_) > 0) shared_->send(Shared::Cancel{number_});
  }

 private:
  std::shared_ptr<Shared> shared_;
  std::uint64_t number_;
};

Result<std::unique_ptr<Engine>> Engine::open(const std::string& path, EngineOptions options,
                                             Loop& loop) {
  return start(TRY(ModelFile::open(path)), std::move(options), loop);
}

Result<std::unique_ptr<Engine>> Engine::start(std::shared_ptr<const ModelFile> file,
                                              EngineOptions options, Loop& loop) {
  auto decoder = TRY(Decoder::make(file, std::move(options)));
  auto shared = std::make_shared<Shared>(loop);
  shared->stats = decoder->stats();
  shared->thread = std::thread(
      [worker = Worker<Shared>(shared, std::move(decoder))]() mutable { worker.run(); });
  return std::unique_ptr<Engine>(new Engine(std::move(file), std::move(shared)));
}

Engine::Engine(std::shared_ptr<const ModelFile> file, std::shared_ptr<Shared> shared)
    : file_(std::move(file)), shared_(std::move(shared)) {}

Engine::~Engine() {
  {
    const std::lock_guard lock(shared_->mutex);
    shared_->stopping = true;
  }
  shared_->wake.notify_one();
  shared_->thread.join();
  auto waiters = std::move(shared_->waiters);
  shared_->waiters.clear();
  for (auto& [ticket, waiter] : waiters)
    waiter.resolve(Err(Code::closed, "the engine was stopped"));
}

Task<Result<agents::Turn>> Engine::generate(agents::TurnRequest request) {
  auto made = make_pending<Result<agents::Turn>>();
  const std::uint64_t number = ++shared_->last_ticket;
  shared_->waiters.emplace(number, std::move(made.second));
  const Ticket ticket(shared_, number);
  shared_->send(Shared::Submit{number, std::move(request)});
  Result<agents::Turn> turn = co_await std::move(made.first);
  co_return turn;
}

void Engine::observe(const std::string& session, agents::SessionEvent event) {
  shared_->send(Shared::Observe{session, event});
}

std::string Engine::identity() const {
  return file_->identity();
}

EngineStats Engine::stats() const {
  const std::lock_guard lock(shared_->mutex);
  return shared_->stats;
}

}  // namespace ambit::inference
