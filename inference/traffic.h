#pragma once

// What forward passes move and compute, by the sizes of what they read: the same count for every
// back end. A step reads the weights once, for all its rows alike; keys and values belong to the
// row that reads them, and what several rows read together is divided among them. Which experts a
// step reads is not looked at: as many as rows would find that choose by chance. Costs a few
// additions a row; nothing is allocated in a step.

#include "inference/backend.h"
#include "inference/model.h"

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace ambit::inference {

struct Traffic {
  std::uint64_t steps = 0;
  std::uint64_t replayed_steps = 0;  // of a GPU: that were recorded before
  std::uint64_t rows = 0;
  double weight_bytes = 0;
  double kv_bytes = 0;           // read and written
  double kv_bytes_unshared = 0;  // what it would have been without sharing
  double operations = 0;         // multiplications and additions
  [[nodiscard]] double bytes() const { return weight_bytes + kv_bytes; }
  Traffic& operator+=(const Traffic& other);
};

// What one row has of its step.
struct RowWork {
  double bytes = 0;
  double operations = 0;
};

// Positions whose keys and values are read in one layer.
struct Reads {
  std::vector<float> rows;  // what each row has of them
  double unshared = 0;      // of all rows, if nothing were shared
};

// As the weights lie where they are read.
struct WeightBytes {
  double layers = 0;   // what every step reads
  double experts = 0;  // of all layers; of these, a step reads some
  double output = 0;   // for rows that want logits
};
WeightBytes weight_bytes(const Model& model);

class TrafficCount {
 public:
  // `kv_bytes`: of the keys and values of one position in one layer.
  TrafficCount(const Model& model, const WeightBytes& weights, double kv_bytes,
               std::size_t rows_max);

  // A step begins. Every sequence reads its own keys and values, once for all its rows.
  void add(std::span<const StepRow> rows);
  // The same where somebody else knows who reads what: in layers that see everything, and in those
  // with a window.
  void add(std::span<const StepRow> rows, const Reads& full, const Reads& windowed);
  void add_replayed() { ++totals_.replayed_steps; }

  [[nodiscard]] const Traffic& totals() const { return totals_; }
  // Of the latest step, row by row.
  [[nodiscard]] std::span<const RowWork> rows() const { return rows_; }

 private:
  void read_alone(std::span<const StepRow> rows, std::size_t window, Reads& reads) const;

  std::size_t window_ = 0;
  WeightBytes weights_;
  double kv_bytes_;
  double full_layers_ = 0;
  double windowed_layers_ = 0;
  double row_operations_ = 0;     // of one row with the weights
  double output_operations_ = 0;  // the same of one that wants logits, with the output
  double seen_operations_ = 0;    // of one row with one position in one layer
  double experts_missed_ = 0;     // part of the experts that one row does not take
  Reads full_, windowed_;
  std::vector<RowWork> rows_;
  Traffic totals_;
};

}  // namespace ambit::inference
