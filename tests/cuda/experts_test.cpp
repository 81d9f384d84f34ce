// Mixtures of experts: which experts a row takes and with which shares, where its slots go, and
// that an expert's product of just its rows has the bits of its product alone.

#include "inference/cuda/experts.h"

#include "inference/cuda/backend.h"
#include "products.h"

#include <catch2/catch.hpp>

#include <algorithm>
#include <deque>
#include <limits>
#include <numeric>

namespace ambit::inference::cuda {

namespace {

struct Chosen {
  std::vector<std::uint32_t> experts;
  std::vector<float> shares;
};

Chosen chosen_of(const std::vector<float>& likes, std::size_t experts, std::size_t used,
                 std::size_t stride, std::size_t rows, std::uint32_t row_count) {
  const auto device = test_device(schedule(81));
  const Array<float> said(*device, likes);
  const Array<std::uint32_t> count(*device, std::vector{row_count});
  const Array<std::uint32_t> chosen(*device, rows * used);
  const Array<float> shares(*device, rows * used);
  device->run(ChooseExpertsJob{said.at(), count.at(), chosen.at(), shares.at(), narrow(experts),
                               narrow(used), narrow(stride), narrow(rows)});
  INFO(device->failure());
  REQUIRE(device->failure().empty());
  return {chosen.read(), shares.read()};
}

// Of each row some experts by chance, by number; the last two rows only fill up.
std::vector<std::uint32_t> by_chance(std::size_t experts, std::size_t used, std::size_t rows) {
  std::vector<std::uint32_t> chosen;
  for (std::size_t row = 0; row < rows; ++row) {
    std::vector<std::uint32_t> all(experts);
    std::iota(all.begin(), all.end(), 0U);
    for (std::size_t k = 0; k < used; ++k)
      std::swap(all[k], all[k + static_cast<std::size_t>(uniform(83, row, k) *
                                                         static_cast<double>(experts - k))]);
    std::sort(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(used));
    for (std::size_t k = 0; k < used; ++k) chosen.push_back(row + 2 < rows ? all[k] : no_expert);
  }
  return chosen;
}

struct Groups {
  Array<std::uint32_t> chosen, places, count;
  Array<ExpertItem> items;
  ExpertItems by_expert;

  Groups(Device& device, const std::vector<std::uint32_t>& of, std::size_t experts,
         std::size_t used, std::size_t item_rows)
      : chosen(device, of),
        places(device, of.size()),
        count(device, 1),
        items(device, expert_items_max(of.size(), experts, item_rows)) {
    by_expert = {items.at(), count.at(), narrow(item_rows),
                 narrow(expert_items_max(of.size(), experts, item_rows))};
    device.run(GroupJob{chosen.at(), places.at(), items.at(), count.at(), narrow(experts),
                        narrow(used), narrow(of.size() / used), narrow(item_rows)});
    INFO(device.failure());
    REQUIRE(device.failure().empty());
  }
};

}  // namespace

TEST_CASE("a row takes the experts that it likes best, of equals the first", "[experts]") {
  struct Case {
    std::size_t experts, used;
  };
  const auto [experts, used] =
      GENERATE(Case{1, 1}, Case{5, 2}, Case{33, 33}, Case{100, 8}, Case{1024, 40});
  const std::size_t rows = 6;
  const std::size_t stride = (experts + 15) / 16 * 16;
  std::vector<float> likes = noise(rows * stride, 84, 4.0F);
  for (std::size_t i = 0; i < likes.size(); ++i)
    if (i / stride % 2 == 0) likes[i] = std::floor(likes[i]);  // rows with many equals
  const Chosen ours = chosen_of(likes, experts, used, stride, rows, rows - 1);
  for (std::size_t row = 0; row + 1 < rows; ++row) {
    const float* of = &likes[row * stride];
    std::vector<std::uint32_t> best(experts);
    std::iota(best.begin(), best.end(), 0U);
    std::sort(best.begin(), best.end(), [&](std::uint32_t one, std::uint32_t other) {
      return of[one] > of[other] || (of[one] == of[other] && one < other);
    });
    const float most = of[best[0]];
    best.resize(used);
    double sum = 0;
    for (const std::uint32_t expert : best) sum += std::exp(double{of[expert]} - double{most});
    std::sort(best.begin(), best.end());
    for (std::size_t k = 0; k < used; ++k) {
      CHECK(ours.experts[row * used + k] == best[k]);
      CHECK(ours.shares[row * used + k] ==
            Approx(std::exp(double{of[best[k]]} - double{most}) / sum).epsilon(1e-5));
    }
  }
  for (std::size_t k = 0; k < used; ++k) {
    CHECK(ours.experts[(rows - 1) * used + k] == no_expert);
    CHECK(ours.shares[(rows - 1) * used + k] == 0.0F);
  }
}

TEST_CASE("what is no number sends a row to no expert that is not there", "[experts]") {
  std::vector<float> likes(3 * 16, std::numeric_limits<float>::quiet_NaN());
  likes[16 + 3] = 1.0F;
  for (std::size_t i = 0; i < 16; ++i) likes[32 + i] = -std::numeric_limits<float>::infinity();
  const Chosen ours = chosen_of(likes, 10, 3, 16, 3, 3);
  CHECK(ours.experts == std::vector<std::uint32_t>{0, 1, 2, 0, 1, 3, 0, 1, 2});
  CHECK(ours.shares[5] == 1.0F);
}

TEST_CASE("rows of an expert lie side by side, and items have each of them once", "[experts]") {
  struct Case {
    std::size_t experts, used, rows;
  };
  const auto [experts, used, rows] = GENERATE(Case{1, 1, 300}, Case{5, 2, 21}, Case{40, 34, 9},
                                              Case{128, 8, 70}, Case{1000, 3, 40});
  const std::size_t item_rows = GENERATE(8U, 16U, 128U);
  const auto chosen = by_chance(experts, used, rows);
  const auto device = test_device(schedule(85));
  const Groups groups(*device, chosen, experts, used, item_rows);
  const auto places = groups.places.read();
  auto items = groups.items.read();
  const std::uint32_t count = groups.count.read()[0];
  REQUIRE(count <= items.size());
  items.resize(count);
  std::vector<std::uint32_t> expert_at(rows * used + 8 * experts, no_expert);
  std::uint32_t end = 0;
  for (const ExpertItem& item : items) {
    REQUIRE(item.end_row <= expert_at.size());
    CHECK(item.first_row % 8 == 0);
    CHECK(item.first_row >= end);
    CHECK(item.first_row < item.end_row);
    CHECK(item.end_row - item.first_row <= item_rows);
    end = item.end_row;
    for (std::uint32_t row = item.first_row; row < end; ++row) expert_at[row] = item.expert;
  }
  std::size_t slots = 0;
  std::vector<std::uint32_t> last(experts, 0);
  for (std::size_t slot = 0; slot < chosen.size(); ++slot) {
    if (chosen[slot] == no_expert) {
      CHECK(places[slot] == no_place);
      continue;
    }
    ++slots;
    REQUIRE(places[slot] < expert_at.size());
    CHECK(expert_at[places[slot]] == chosen[slot]);
    // In the order of the rows, so that no two have one place.
    CHECK((last[chosen[slot]] == 0 || places[slot] > last[chosen[slot]] - 1));
    last[chosen[slot]] = places[slot] + 1;
  }
  std::size_t in_items = 0;
  for (const ExpertItem& item : items) in_items += item.end_row - item.first_row;
  CHECK(in_items == slots);
}

TEST_CASE("an expert's product of its rows has the bits of its product alone", "[experts]") {
  const DType type = GENERATE(DType::f32, DType::f16, DType::bf16, DType::q8_0, DType::q4_0,
                              DType::q4_k, DType::q5_k, DType::q6_k);
  const bool fp8 = type == DType::f16 && GENERATE(false, true);
  ShimOptions options = schedule(86);
  options.architecture = GENERATE(80U, 90U);
  constexpr std::size_t experts = 5;
  constexpr std::size_t used = 2;
  // One expert has most rows, one has none.
  const std::size_t rows = type == DType::bf16 || type == DType::q8_0 ? 150 : 29;
  std::vector<std::uint32_t> chosen;
  for (std::uint32_t row = 0; row < rows; ++row) {
    const bool fills = row + 2 >= rows;
    chosen.push_back(fills ? no_expert : row % 3 == 0 ? 0 : 1);
    chosen.push_back(fills ? no_expert : row % 7 == 0 ? 4 : 3);
  }
  const auto device = test_device(options);
  std::deque<Weight> weights;
  std::vector<const Weight*> alike;
  for (std::size_t e = 0; e < experts; ++e)
    alike.push_back(&weights.emplace_back(type, inputs_of(type), 72, 87 + e));
  const std::size_t inputs = alike[0]->matrix.inputs;
  const std::size_t outputs = alike[0]->matrix.outputs;
  const OnDevice all(*device, alike, fp8);
  const Inputs in(*device, rows, inputs);
  std::vector<std::vector<float>> alone;
  for (const Weight* weight : alike) {
    const OnDevice one(*device, *weight, fp8);
    const Array<float> out(*device, rows * outputs);
    device->run(MultiplyJob{one.view, in.view, out.at(), narrow(outputs), narrow(rows)});
    alone.push_back(out.read());
  }
  const std::size_t places_max = 512;
  INFO(to_string(type) << (fp8 ? " as fp8" : "") << " on " << options.architecture);
  for (const std::size_t item_rows : {8U, 16U, 32U, 64U, 128U}) {
    const Groups groups(*device, chosen, experts, used, item_rows);
    const Inputs gathered(*device, 0, inputs, 5, places_max);
    const Array<float> out(*device, places_max * outputs);
    device->run(GatherJob{in.view, gathered.view, groups.places.at(), used, narrow(chosen.size())});
    MultiplyJob job{all.view, gathered.view, out.at(), narrow(outputs), 0};
    job.by_expert = groups.by_expert;
    device->run(job);
    INFO(item_rows << " rows together: " << device->failure());
    REQUIRE(device->failure().empty());
    const auto made = out.read();
    const auto places = groups.places.read();
    std::size_t unequal = 0;
    for (std::size_t slot = 0; slot < chosen.size(); ++slot) {
      if (chosen[slot] == no_expert) continue;
      const float* ours = &made[places[slot] * outputs];
      const float* expected = &alone[chosen[slot]][slot / used * outputs];
      unequal += std::memcmp(ours, expected, outputs * sizeof(float)) == 0 ? 0 : 1;
      shim_tally().equal_values += outputs;
    }
    CHECK(unequal == 0);
  }
}

TEST_CASE("answers are added in the order of the experts, each times its share", "[experts]") {
  const std::size_t width = GENERATE(std::size_t{16}, std::size_t{1300});
  const std::size_t stride = (width + 15) / 16 * 16;
  constexpr std::size_t rows = 3;
  constexpr std::size_t used = 4;
  const std::vector<std::uint32_t> places = {9, 2,  30,       0,        17,       1,
                                             8, 16, no_place, no_place, no_place, no_place};
  const auto device = test_device(schedule(88));
  const auto answers = noise(31 * stride, 89);
  const auto shares = noise(rows * used, 90);
  const Array<float> said(*device, answers), weighed(*device, shares), out(*device, rows * stride);
  const Array<std::uint32_t> at(*device, places);
  device->run(MixJob{said.at(), at.at(), weighed.at(), out.at(), narrow(width), narrow(stride),
                     used, rows});
  REQUIRE(device->failure().empty());
  std::vector<float> expected(rows * stride, 0.0F);
  for (std::size_t row = 0; row + 1 < rows; ++row)
    for (std::size_t k = 0; k < used; ++k)
      for (std::size_t d = 0; d < width; ++d)
        expected[row * stride + d] +=
            shares[row * used + k] * answers[places[row * used + k] * stride + d];
  CHECK(same_bits(out.read(), expected));
}

}  // namespace ambit::inference::cuda
