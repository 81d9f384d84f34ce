#include "io/uv_workers.h"

#include "async/pending.h"

#include <exception>
#include <memory>
#include <utility>

namespace ambit::io {

struct UvWorkers::Request {
  uv_work_t request{};
  std::function<void()> work;
  std::exception_ptr thrown;
  Resolver<std::exception_ptr> done;
  Semaphore::Permit place;

  static Pending<std::exception_ptr> start(uv_loop_t* loop, std::function<void()> work,
                                           Semaphore::Permit place) {
    auto made = make_pending<std::exception_ptr>();
    auto* self =
        new Request{{}, std::move(work), nullptr, std::move(made.second), std::move(place)};
    self->request.data = self;
    const auto body = [](uv_work_t* request) {
      auto& on_thread = *static_cast<Request*>(request->data);
      try {
        on_thread.work();
      } catch (...) {
        on_thread.thrown = std::current_exception();
      }
    };
    const auto after = [](uv_work_t* request, int /*status*/) {
      const std::unique_ptr<Request> finished(static_cast<Request*>(request->data));
      finished->done.resolve(std::move(finished->thrown));
    };
    INVARIANT(uv_queue_work(loop, &self->request, body, after) == 0);
    return std::move(made.first);
  }
};

Task<void> UvWorkers::run(std::function<void()> work) {
  auto place = co_await places_.acquire();
  const std::exception_ptr thrown =
      co_await Request::start(loop_, std::move(work), std::move(place));
  if (thrown) std::rethrow_exception(thrown);
}

}  // namespace ambit::io
