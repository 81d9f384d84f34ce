#include "inference/engine.h"
#include "inference/synth.h"

#include <catch2/catch.hpp>
using namespace ambit::inference;
TEST_CASE("smoke") {
  REQUIRE(synthesize({}).write("/tmp/s.gguf"));
  auto file = ModelFile::open("/tmp/s.gguf");
  if (!file) FAIL(file.error().message);
  auto decoder = Decoder::make(*file, {});
  REQUIRE(decoder);
  ambit::agents::TurnRequest r;
  r.messages = {{ambit::agents::Role::user, "hello there", {}, "", ""}};
  r.tokens_max = 30;
  auto turn = (*decoder)->complete(r);
  REQUIRE(turn);
  WARN(turn->message.content);
}
