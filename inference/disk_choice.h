#pragma once

// Whether a page of keys and values comes back from disk sooner than it is computed again. What
// sizes tell stands until there are measurements; these outweigh it after some pages, and old ones
// fade. The answer changes only when the other one has become clearly better. What is computed
// never depends on it.

namespace ambit::inference {

class DiskChoice {
 public:
  // Seconds that one page takes, as far as sizes tell.
  DiskChoice(double read_s, double compute_s);
  // So many pages took so many seconds. Without either there was no clock, and nothing is learnt.
  void add_read(double pages, double seconds);
  void add_computed(double pages, double seconds);
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
