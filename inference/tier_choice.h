#pragma once

// Whether a page of keys and values comes back from a tier sooner than it is computed again. What
// sizes tell stands until there are measurements; these outweigh it after some pages, and old ones
// fade. The answer changes only when the other one has become clearly better. A tier that is not
// used is tried now and then, so that one that has become better is found. What is computed never
// depends on it.

namespace ambit::inference {

class TierChoice {
 public:
  // Seconds that one page takes, as far as sizes tell.
  TierChoice(double read_s, double compute_s);
  // So many pages took so many seconds. Without either there was no clock, and nothing is learnt.
  void add_read(double pages, double seconds);
  void add_computed(double pages, double seconds);
  // Of a tier that is not used: what was known of it from before counts half with each.
  void add_probes(double pages, double seconds);
  [[nodiscard]] bool pays() const { return pays_; }

 private:
  struct Estimate {
    double pages = 0;
    double seconds = 0;
    void add(double more_pages, double more_seconds);
    [[nodiscard]] double of_page() const { return seconds / pages; }
  };
  void decide();

  Estimate read_;
  Estimate computed_;
  bool pays_;
};

}  // namespace ambit::inference
