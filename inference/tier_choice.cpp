#include "inference/tier_choice.h"

namespace ambit::inference {

namespace {

constexpr double prior_weight = 64;  // what sizes tell counts as so many measured pages
constexpr double weight_max = 2048;  // when there are more, all weigh half
constexpr double probe_weight = 8;
constexpr double clearly = 1.25;

}  // namespace

TierChoice::TierChoice(double read_s, double compute_s)
    : read_{prior_weight, prior_weight * read_s},
      computed_{prior_weight, prior_weight * compute_s},
      pays_(read_s < compute_s) {}

void TierChoice::Estimate::add(double more_pages, double more_seconds) {
  if (more_pages <= 0 || more_seconds <= 0) return;
  pages += more_pages;
  seconds += more_seconds;
  while (pages > weight_max) {
    pages /= 2;
    seconds /= 2;
  }
}

void TierChoice::add_read(double pages, double seconds) {
  read_.add(pages, seconds);
  decide();
}

void TierChoice::add_computed(double pages, double seconds) {
  computed_.add(pages, seconds);
  decide();
}

void TierChoice::add_probes(double pages, double seconds) {
  if (pages <= 0 || seconds <= 0) return;
  read_.pages /= 2;
  read_.seconds /= 2;
  read_.add(probe_weight, probe_weight * seconds / pages);
  decide();
}

void TierChoice::decide() {
  const double read_s = read_.of_page();
  const double compute_s = computed_.of_page();
  if (pays_ ? read_s > clearly * compute_s : clearly * read_s < compute_s) pays_ = !pays_;
}

}  // namespace ambit::inference
