#include "agents/overheard.h"

#include "agents/json_writer.h"

namespace ambit::agents {
namespace {

// Less is not worth a look at the whole conversation.
constexpr std::size_t step_bytes = 512;

}  // namespace

void Overheard::hear(std::string_view piece) {
  if (piece.size() > bytes_max_ - result_.size()) {
    piece = piece.substr(0, bytes_max_ - result_.size());
    piece = piece.substr(0, whole_characters(piece));
    bytes_max_ = result_.size() + piece.size();  // no gap in what comes later
  }
  result_ += piece;
  if (result_.size() - told_ < step_bytes) return;
  told_ = result_.size();
  model_.foresee(request_, result_);
}

}  // namespace ambit::agents
