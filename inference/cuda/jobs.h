#pragma once

// What each kernel is told: plain values and pointers into the device's memory. A job holds nothing
// that changes from step to step, so a recorded step can be played again; what changes (tokens,
// positions, pages, plans, counts) lies in the device's memory where the job points.

#include <cstddef>
#include <cstdint>

namespace ambit::inference::cuda {

// Of a weight in the device's memory. A panel is 16 outputs, cut into blocks of 32 inputs whose
// words lie in the order in which a warp's lanes take them (panels.h).
enum class WeightType : std::uint8_t { f32, f16, bf16, fp8, q8_0, q4_0, q4_k, q5_k, q6_k };
// Of keys and values in a page.
enum class PageType : std::uint8_t { bf16, fp8 };

// What products take their inputs as. A row of values is written in every form that some weight
// wants: a set of these bits.
enum Forms : std::uint8_t {
  as_floats = 1,
  as_halves = 2,  // beyond their range they stay at its border
  as_bf16 = 4,
  as_levels = 8  // 8-bit levels, one scale for 32
};

inline constexpr unsigned panel_rows = 16;    // outputs of a panel
inline constexpr unsigned block_inputs = 32;  // inputs of a block
inline constexpr unsigned token_tile = 8;     // columns of one product
inline constexpr unsigned row_multiple = 64;  // buffers of inputs have whole multiples of rows
inline constexpr unsigned chunk_positions = 256;
inline constexpr unsigned page_positions = 32;
inline constexpr unsigned segments_max = 8;

// 32 inputs of a row as whole numbers: x = scale * level.
struct alignas(16) LevelBlock {
  float scale;
  float minus_sum;       // -scale * the sum of the levels
  std::int32_t sums[2];  // of the first 16 levels and of the last 16
};

// Values of so many rows in all forms that are wanted; others are null. `width` is whole blocks of
// 32 in `halves`, `bf16`, `levels`; inputs beyond the matrix's own are 0.
// Levels of a block lie so that lane t of four finds its 8 together: inputs 4t to 4t + 3, then
// 16 + 4t to 16 + 4t + 3.
// Where products are warpgroups' (row_tiles > 0), `halves` and `bf16` lie as the copy engine brings
// them: [block of 32 inputs][8 rows] tiles of [4][8 rows][8 values], see tile_place().
struct FormView {
  float* floats;          // [rows][width]
  std::uint16_t* halves;  // [rows][padded]
  std::uint16_t* bf16;    // [rows][padded]
  std::int8_t* levels;    // [rows][padded]
  LevelBlock* blocks;     // [rows][padded / 32]
  std::uint32_t width;
  std::uint32_t padded;
  std::uint32_t row_tiles;  // of 8 rows that the buffers have; 0: rows lie one after the other
};

// A stretch of panels of one type.
struct WeightView {
  WeightType type;
  const std::byte* panels;
  const float* scales;  // of fp8: [outputs]
  std::uint32_t first_output;
  std::uint32_t panel_count;
  std::uint32_t panel_bytes;
  std::uint32_t blocks;  // of 32 inputs
  // The inputs are cut into segments of so many blocks; their sums are added from the left. Fixed
  // by the weight's shape: part of what the product is, not of how it is computed.
  std::uint32_t segment_blocks;
  std::uint32_t segments;
};

// Rows that go through the weight of one expert, all of them side by side from a whole tile on.
struct ExpertItem {
  std::uint32_t expert;
  std::uint32_t first_row;  // a multiple of 8
  std::uint32_t end_row;
};
struct ExpertItems {
  const ExpertItem* items = nullptr;
  const std::uint32_t* count = nullptr;  // items beyond it are none
  std::uint32_t rows = 0;                // that an item has at most: 8 to 128, a power of two
  std::uint32_t items_max = 0;
};

struct MultiplyJob {
  WeightView weight;  // by_expert: of the first; those of the others lie behind it
  FormView in;
  float* out;
  std::uint32_t out_stride;
  std::uint32_t rows;
  ExpertItems by_expert{};  // null items: all rows go through the one weight
};

struct EmbedJob {
  WeightView table;  // outputs are tokens
  const std::int32_t* tokens;
  float* out;  // [rows][width]
  float scale;
  std::uint32_t width;
  std::uint32_t rows;
};

// residual += made (normed by `after` where it is given); then out = residual normed by `next`, in
// all forms. `made` and `next` may be null. `select`: row i is the residual's row select[i].
struct NormJob {
  float* residual;    // [rows][width]
  const float* made;  // [rows][made_stride]
  const float* after;
  const float* next;
  const std::uint32_t* select;
  FormView out;
  float epsilon;
  std::uint32_t width;
  std::uint32_t made_stride;
  std::uint32_t rows;
};

// What a layer does with its queries, keys and values before attention.
struct PrepareJob {
  const float* qkv;  // [rows][stride]
  const float* bias;
  const float* query_norm;
  const float* key_norm;
  const float* turns;              // [position][rope_width / 2][cosine, sine]; null: no turn
  const std::uint32_t* positions;  // [rows]
  const std::uint32_t* tables;     // [rows], where the row's pages begin in `pages`
  std::byte* const* pages;
  std::uint16_t* queries;  // bf16, [rows][heads][head_width]
  float epsilon;
  PageType page_type;
  bool interleaved;
  std::uint32_t heads;
  std::uint32_t kv_heads;
  std::uint32_t head_width;
  std::uint32_t rope_width;
  std::uint32_t key_at;  // in a row of qkv
  std::uint32_t value_at;
  std::uint32_t stride;
  std::uint32_t rows;
  std::uint64_t layer_offset;  // bytes from a page's start
};

// Rows that go through the same chunks together: their pages there are the same.
struct AttentionItem {
  std::uint32_t rows_at;  // in `rows`
  std::uint32_t row_count;
  std::uint32_t chunk_first;  // chunks of 256 positions
  std::uint32_t chunk_end;    // more than one: folded on the way
  std::uint32_t table;        // the pages of any of them
  std::uint32_t last;         // the last position that one of them sees
};
struct AttentionRow {
  std::uint32_t row;      // of the step
  std::uint32_t partial;  // where its result goes
};

struct AttendJob {
  const AttentionItem* items;
  const std::uint32_t* item_count;  // items beyond it are none
  const AttentionRow* item_rows;
  const std::uint32_t* positions;
  std::byte* const* pages;
  const std::uint16_t* queries;
  float* outputs;  // [partials][heads][head_width], not yet divided by the sum
  float* peaks;    // [partials][heads][2]: maximum, sum
  float scale;
  float cap;
  PageType page_type;
  std::uint32_t window;  // 0: none
  std::uint32_t heads;
  std::uint32_t kv_heads;
  std::uint32_t head_width;
  std::uint32_t items_max;
  std::uint64_t layer_offset;
};

// The partials of a row's chunks, folded from the left and divided.
struct FoldJob {
  const std::uint32_t* first_partial;  // [rows + 1]
  const float* outputs;
  const float* peaks;
  FormView out;  // width: heads * head_width
  std::uint32_t heads;
  std::uint32_t head_width;
  std::uint32_t rows;
};

struct GateJob {
  const float* gate_up;  // [rows][stride]
  std::uint32_t up_at;
  std::uint32_t stride;
  std::uint32_t rows;
  bool gelu;
  FormView out;
  const std::uint32_t* places = nullptr;  // of rows; null: where they are
};

// ---- mixtures of experts

// A row has a slot for each expert that it takes, by the experts' numbers. A slot's place is the
// row that it has where rows lie by expert. Rows beyond `row_count` only fill a step up: they take
// none.
inline constexpr std::uint32_t no_expert = 0xFFFFFFFFU;
inline constexpr std::uint32_t no_place = 0xFFFFFFFFU;
inline constexpr unsigned experts_max = 1024;

struct ChooseExpertsJob {
  const float* likes;  // [rows][stride], what the router says
  const std::uint32_t* row_count;
  std::uint32_t* chosen;  // [rows][used]
  float* shares;          // [rows][used]
  std::uint32_t experts;
  std::uint32_t used;
  std::uint32_t stride;
  std::uint32_t rows;
};

struct GroupJob {
  const std::uint32_t* chosen;
  std::uint32_t* places;  // [rows][used]
  ExpertItem* items;
  std::uint32_t* item_count;
  std::uint32_t experts;
  std::uint32_t used;
  std::uint32_t rows;
  std::uint32_t item_rows;  // at most
};

// to, at a slot's place = from, at its row, in the forms that `to` has.
struct GatherJob {
  FormView from;
  FormView to;
  const std::uint32_t* places;
  std::uint32_t used;
  std::uint32_t slots;
};

// A row's answers, each times its share, added in the order of its slots.
struct MixJob {
  const float* answers;  // [places][stride]
  const std::uint32_t* places;
  const float* shares;
  float* out;  // [rows][stride]
  std::uint32_t width;
  std::uint32_t stride;
  std::uint32_t used;
  std::uint32_t rows;
};

struct CapJob {
  float* values;  // [rows][stride]
  std::uint32_t width;
  std::uint32_t stride;
  std::uint32_t rows;
  float cap;
};

// How one row's next token is chosen.
struct Choice {
  std::uint64_t seed;
  std::uint64_t position;
  double temperature;   // not above 0: the likeliest
  std::int32_t mask;    // which of the masks; below 0: everything may be said
  std::int32_t wanted;  // 0: nobody asks
};
struct ChooseJob {
  const float* logits;  // [rows][stride]
  const Choice* choices;
  const std::uint32_t* masks;  // [masks][mask_words], one bit a token
  std::int32_t* chosen;        // -1: the mask allows nothing
  std::uint32_t vocabulary;
  std::uint32_t mask_words;
  std::uint32_t stride;
  std::uint32_t rows;
};

}  // namespace ambit::inference::cuda
