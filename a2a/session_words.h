#pragma once

// SessionWords: what a session says while it works, on its way to its task: the words of the answer
// in chunks as they are decoded, and that it waits for a person. The engine never waits for it:
// words that come while a chunk is being taken over go out together with the next. A later turn's
// words take the place of those before, since only the last turn is the answer.

#include "a2a/runner.h"
#include "agents/session.h"
#include "agents/turn_loop.h"
#include "async/channel.h"

#include <cstddef>
#include <optional>
#include <string>

namespace ambit::a2a {

class SessionWords final : public agents::Listener, public agents::Parking {
 public:
  // All is borrowed and outlives it, and so does pump()'s task. `has_told_wait`: the task says
  // already that it waits.
  SessionWords(const agents::SessionState& state, std::string approver, Semaphore& places,
               RunEvents& events, bool has_told_wait);

  // Takes one of the places, which is left while a person is waited for.
  Task<void> take_place();
  // Tells until close(). Once the task has ended it hears no more.
  Task<Result<void>> pump();
  void close();
  // The rest of the answer, or all of it where other words were heard. After pump().
  Task<Result<void>> finish();

  void begins() override;
  void hears(const std::string& piece) override;
  void leave() override;
  Task<void> come_back() override;

 private:
  Task<Result<void>> tell_waiting();
  Task<Result<void>> tell_words(std::size_t end, bool is_last);

  const agents::SessionState& state_;
  std::string approver_;
  Semaphore& places_;
  RunEvents& events_;
  std::optional<Semaphore::Permit> place_;
  std::string said_;       // of this turn
  std::size_t whole_ = 0;  // of it, all but the last piece, so that the last chunk is never empty
  std::size_t told_ = 0;
  bool waits_;
  bool has_told_wait_;
  bool is_closed_ = false;
  Waiters changed_;
};

// An agent's message of one text.
Message words(std::string text);

}  // namespace ambit::a2a
