#pragma once

// Overheard: what a running call has told of its result so far, handed on to the model that will
// read it (Model::foresee), now and then and at most as much as a conversation holds of a result.

#include "agents/model.h"

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>

namespace ambit::agents {

class Overheard {
 public:
  // The model is borrowed and outlives it. `request`: the conversation whose call it is; of the
  // result, at most so many bytes.
  Overheard(Model& model, TurnRequest request, std::size_t bytes_max)
      : model_(model), request_(std::move(request)), bytes_max_(bytes_max) {}

  // How the result goes on: whole characters.
  void hear(std::string_view piece);

 private:
  Model& model_;
  TurnRequest request_;
  std::size_t bytes_max_;
  std::string result_;
  std::size_t told_ = 0;  // bytes of it
};

}  // namespace ambit::agents
