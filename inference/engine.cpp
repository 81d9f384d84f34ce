#include "inference/engine.h"

#include "async/pending.h"
#include "async/waiters.h"

#include <condition_variable>
#include <mutex>
#include <optional>
#include <thread>
#include <unordered_map>
#include <utility>
#include <variant>

namespace ambit::inference {

// Who waits for an answer: a turn or an embedding.
struct Engine::Waiter {
  std::optional<Resolver<Result<agents::Turn>>> turn;
  std::optional<Resolver<Result<agents::Embedding>>> embedding;
  std::function<void(const std::string&)> on_text;

  void resolve(Result<agents::Turn> value) { turn->resolve(std::move(value)); }
  void resolve(Result<agents::Embedding> value) { embedding->resolve(std::move(value)); }
  void fail(Error error) {
    if (turn)
      turn->resolve(Err(std::move(error)));
    else
      embedding->resolve(Err(std::move(error)));
  }
};

// What the loop's thread and the engine's thread both know. The mailbox and the statistics are
// under the mutex; `waiters` and `last_ticket` belong to the loop's thread alone.
struct Engine::Shared {
  struct Submit {
    std::uint64_t ticket;
    agents::TurnRequest request;
    bool streams;
  };
  struct Embed {
    std::uint64_t ticket;
    agents::EmbeddingRequest request;
  };
  struct Cancel {
    std::uint64_t ticket;
  };
  struct Observe {
    std::string session;
    agents::SessionEvent event;
  };
  struct Foresee {
    agents::TurnRequest request;
    std::string result;
  };
  struct Woken {};  // the weights may have their place on the device now
  using Letter = std::variant<Submit, Embed, Cancel, Observe, Foresee, Woken>;

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
  std::unordered_map<std::uint64_t, Waiter> waiters;
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
      progress_.clear();
      decoder_->step(progress_);
      publish();
      for (auto& [id, piece] : progress_.said) tell(tickets_.at(id), std::move(piece));
      for (auto& [id, turn] : progress_.ended) reply(release(id), std::move(turn));
      for (auto& [id, embedding] : progress_.embedded) reply(release(id), std::move(embedding));
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
        return shared_->stopping || !shared_->letters.empty() || decoder_->can_step();
      });
      if (shared_->stopping) return false;
      letters.swap(shared_->letters);
    }
    for (auto& letter : letters) std::visit([this](auto& of) { this->handle(of); }, letter);
    return true;
  }

  void handle(typename Shared::Submit& letter) {
    accept<agents::Turn>(letter.ticket, decoder_->submit(letter.request, letter.streams));
  }
  void handle(typename Shared::Embed& letter) {
    accept<agents::Embedding>(letter.ticket, decoder_->submit(letter.request));
  }
  template <class Answer>
  void accept(std::uint64_t ticket, Result<std::uint64_t> id) {
    if (!id) {
      reply(ticket, Result<Answer>(Err(std::move(id).error())));
      return;
    }
    tickets_.emplace(*id, ticket);
    ids_.emplace(ticket, *id);
  }
  std::uint64_t release(std::uint64_t id) {
    const auto ticket = tickets_.extract(id);
    ids_.erase(ticket.mapped());
    return ticket.mapped();
  }
  void handle(typename Shared::Cancel& letter) {
    const auto id = ids_.extract(letter.ticket);
    if (id.empty()) return;
    decoder_->cancel(id.mapped());
    tickets_.erase(id.mapped());
  }
  void handle(typename Shared::Observe& letter) { decoder_->observe(letter.session, letter.event); }
  void handle(typename Shared::Foresee& letter) {
    decoder_->foresee(std::move(letter.request), std::move(letter.result));
  }
  void handle(typename Shared::Woken&) {}

  template <class Answer>
  void reply(std::uint64_t ticket, Result<Answer> answer) {
    shared_->loop.post_from_thread(
        [shared = shared_, ticket, answer = std::move(answer)]() mutable {
          auto waiter = shared->waiters.extract(ticket);
          if (!waiter.empty()) waiter.mapped().resolve(std::move(answer));
        });
  }
  void tell(std::uint64_t ticket, std::string piece) {
    shared_->loop.post_from_thread([shared = shared_, ticket, piece = std::move(piece)] {
      const auto waiter = shared->waiters.find(ticket);
      if (waiter == shared->waiters.end()) return;
      const auto on_text = waiter->second.on_text;  // it may cancel, and so end its own waiter
      on_text(piece);
    });
  }

  std::shared_ptr<Shared> shared_;
  std::unique_ptr<Decoder> decoder_;
  Decoder::Progress progress_;
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
  auto file = TRY(ModelFile::open(path, options.context_max));
  return start(std::move(file), std::move(options), loop);
}

Result<std::unique_ptr<Engine>> Engine::start(std::shared_ptr<const ModelFile> file,
                                              EngineOptions options, Loop& loop) {
  auto decoder = TRY(Decoder::make(file, std::move(options)));
  auto shared = std::make_shared<Shared>(loop);
  shared->stats = decoder->stats();
  decoder->set_wake([shared] { shared->send(Shared::Woken{}); });
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
  for (auto& [ticket, waiter] : waiters) waiter.fail({Code::closed, "the engine was stopped"});
}

Task<Result<agents::Turn>> Engine::generate(agents::TurnRequest request) {
  auto made = make_pending<Result<agents::Turn>>();
  const std::uint64_t number = ++shared_->last_ticket;
  auto on_text = std::exchange(request.on_text, nullptr);
  const bool streams = on_text != nullptr;
  shared_->waiters.emplace(number, Waiter{std::move(made.second), {}, std::move(on_text)});
  // As for a place anywhere else: nobody is overtaken for ever.
  request.due_s = Waiters::second_of(request.due_s);
  const Ticket ticket(shared_, number);
  shared_->send(Shared::Submit{number, std::move(request), streams});
  Result<agents::Turn> turn = co_await std::move(made.first);
  co_return turn;
}

Task<Result<agents::Embedding>> Engine::embed(agents::EmbeddingRequest request) {
  auto made = make_pending<Result<agents::Embedding>>();
  const std::uint64_t number = ++shared_->last_ticket;
  shared_->waiters.emplace(number, Waiter{{}, std::move(made.second), {}});
  request.due_s = Waiters::second_of(request.due_s);
  const Ticket ticket(shared_, number);
  shared_->send(Shared::Embed{number, std::move(request)});
  Result<agents::Embedding> embedding = co_await std::move(made.first);
  co_return embedding;
}

void Engine::observe(const std::string& session, agents::SessionEvent event) {
  shared_->send(Shared::Observe{session, event});
}

void Engine::foresee(agents::TurnRequest request, std::string result) {
  shared_->send(Shared::Foresee{std::move(request), std::move(result)});
}

std::string Engine::identity() const {
  return file_->identity();
}

EngineStats Engine::stats() const {
  const std::lock_guard lock(shared_->mutex);
  return shared_->stats;
}

}  // namespace ambit::inference
