#include "inference/cuda/far_lane.h"

#include "async/check.h"

#include <algorithm>

namespace ambit::inference::cuda {

Result<std::unique_ptr<FarLane>> FarLane::make(const Model& model, CudaBackend& home,
                                               std::unique_ptr<Device> device, std::size_t rows_max,
                                               std::size_t pages_max,
                                               std::shared_ptr<Residency> residency) {
  const DeviceInfo& here = home.device().info();
  const DeviceInfo& there = device->info();
  if (here.architecture != there.architecture)
    return Err(Code::unsupported, "prompts cannot go to " + there.name + " (sm_" +
                                      std::to_string(there.architecture) + "): beside " +
                                      here.name + " (sm_" + std::to_string(here.architecture) +
                                      ") they would have other bits");
  BackendOptions options = home.options();
  options.rows_max = rows_max;
  options.pages_max = pages_max;
  options.residency = std::move(residency);
  options.parks = false;
  auto backend = TRY(CudaBackend::make(model, std::move(device), options));
  TRY(backend->settle());
  const std::size_t longest =
      (backend->options().context_max + page_positions - 1) / page_positions;
  const std::size_t sequences = std::max<std::size_t>(pages_max / longest, 1);
  return std::unique_ptr<FarLane>(
      new FarLane(model, home, std::move(backend), rows_max, pages_max, sequences));
}

FarLane::FarLane(const Model& model, CudaBackend& home, std::unique_ptr<CudaBackend> backend,
                 std::size_t rows_max, std::size_t pages_max, std::size_t sequences_max)
    : home_(home),
      backend_(*backend),
      forward_(model, std::move(backend), rows_max),
      pages_max_(pages_max),
      sequences_max_(sequences_max) {}

void FarLane::start(std::span<const StepRow> rows) {
  ++passes_;
  rows_.assign(rows.begin(), rows.end());
  backend_.device().follow(home_.device());
  const auto stretches = [&](const auto& work) {
    for (std::size_t first = 0; first < rows.size();) {
      std::size_t end = first + 1;
      while (end < rows.size() && rows[end].sequence == rows[first].sequence) ++end;
      guests_[rows[first].sequence].used = passes_;
      if (!work(first, end)) return false;
      first = end;
    }
    return true;
  };
  // All of this pass are known before a page is taken from anybody.
  stretches([](std::size_t, std::size_t) { return true; });
  const bool is_here = stretches([&](std::size_t first, std::size_t end) {
    if (!welcome(rows.subspan(first, end - first))) return false;
    for (std::size_t i = first; i < end; ++i)
      rows_[i].pages = guests_.at(rows[first].sequence).pages.data();
    return true;
  });
  if (!is_here) {
    failure_ = "the GPU for prompts has no room for the pages of a pass";
    return;
  }
  forward_.start(rows_);
  stretches([&](std::size_t first, std::size_t end) {
    const Guest& guest = guests_.at(rows[first].sequence);
    for (std::size_t page = rows[first].position / page_positions;
         page <= rows[end - 1].position / page_positions; ++page, ++moved_.pages_home)
      backend_.device().copy(rows[first].pages[page], guest.pages[page], backend_.page_bytes());
    return true;
  });
}

bool FarLane::welcome(std::span<const StepRow> rows) {
  Guest& guest = guests_.at(rows.front().sequence);
  const std::size_t begin = rows.front().position;
  const std::size_t end = rows.back().position + 1;
  INVARIANT(guest.length <= begin);
  while (guest.pages.size() * page_positions < end) {
    std::byte* page = take_page();
    if (page == nullptr) return false;
    guest.pages.push_back(page);
  }
  // A page that is here in part comes again as a whole.
  for (std::size_t position = guest.length / page_positions * page_positions;
       guest.length < begin && position < begin; position += page_positions, ++moved_.pages_here) {
    const std::size_t page = position / page_positions;
    backend_.device().copy(guest.pages[page], rows.front().pages[page], backend_.page_bytes());
  }
  guest.length = end;
  return true;
}

std::byte* FarLane::take_page() {
  if (free_.empty() && made_ < pages_max_) {
    std::byte* page = backend_.pages().make_page(backend_.page_bytes());
    if (page != nullptr) {
      ++made_;
      return page;
    }
  }
  if (free_.empty()) {
    const auto oldest = std::min_element(
        guests_.begin(), guests_.end(),
        [](const auto& one, const auto& other) { return one.second.used < other.second.used; });
    if (oldest == guests_.end() || oldest->second.used == passes_) return nullptr;
    free_ = std::move(oldest->second.pages);
    guests_.erase(oldest);
    if (free_.empty()) return take_page();
  }
  std::byte* page = free_.back();
  free_.pop_back();
  return page;
}

}  // namespace ambit::inference::cuda
