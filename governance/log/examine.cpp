#include "log/examine.h"

#include "log/merkle.h"

#include <algorithm>

namespace ambit::log {

// What one thread uses again and again.
struct Examiners::Tools {
  LeafView view;
  PayloadCipher cipher;
  std::string opened;
  std::string hex;
  std::uint64_t subject = 0;
  std::optional<Subject> owner;
};

Examiners::Examiners(unsigned threads, const Subjects& subjects)
    : subjects_(subjects), own_(std::make_unique<Tools>()) {
  threads_.reserve(threads);
  for (unsigned i = 0; i < threads; ++i) threads_.emplace_back([this] { work(); });
}

Examiners::~Examiners() {
  {
    const std::lock_guard lock(mutex_);
    ends_ = true;
    queue_.clear();
  }
  changed_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void Examiners::add(std::shared_ptr<Block> block) {
  {
    const std::lock_guard lock(mutex_);
    queue_.push_back(std::move(block));
  }
  changed_.notify_all();
}

void Examiners::finish(Block& block) {
  std::unique_lock lock(mutex_);
  if (block.state == Block::State::waiting) {
    std::erase_if(queue_, [&block](const auto& each) { return each.get() == &block; });
    block.state = Block::State::at_work;
    lock.unlock();
    examine(block, subjects_, *own_);
    lock.lock();
    block.state = Block::State::done;
    return;
  }
  changed_.wait(lock, [&block] { return block.state == Block::State::done; });
}

void Examiners::work() {
  Tools tools;
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return ends_ || !queue_.empty(); });
    if (ends_) return;
    const std::shared_ptr<Block> block = std::move(queue_.front());
    queue_.pop_front();
    block->state = Block::State::at_work;
    lock.unlock();
    examine(*block, subjects_, tools);
    lock.lock();
    block->state = Block::State::done;
    changed_.notify_all();
  }
}

namespace {

Result<Examined> examine_leaf(const LogRow& row, LeafView& view) {
  const std::string_view bytes = row.value.substr(32);
  TRY(scan_leaf(bytes, view));
  if (view.index != row.index) {
    return Err(Code::invalid, "it says of itself that it is record " + std::to_string(view.index));
  }
  const Hash hash = leaf_hash(bytes);
  if (bytes_of(hash) != row.value.substr(0, 32)) {
    return Err(Code::invalid, "its hash is not the stored one");
  }
  return Examined{hash,      view.run,  view.session,         view.previous,
                  view.type, view.body, view.payloads.size(), view.unix_ns};
}

}  // namespace

void Examiners::examine(Block& block, const Subjects& subjects, Tools& tools) {
  const auto payload = [&](const LogRow& row, std::size_t place) -> Result<void> {
    // A row that belongs to no payload is for who knows what should come next.
    if (tools.view.index != row.index || row.place >= tools.view.payloads.size()) return {};
    const LeafView::Payload& wanted = tools.view.payloads[row.place];
    const std::uint64_t subject = TRY(PayloadCipher::subject_of(row.value));
    if (!tools.owner || subject != tools.subject) tools.owner = TRY(subjects.get(subject));
    tools.subject = subject;
    if (!tools.owner) {
      block.erased.emplace_back(place, subject);
      return {};
    }
    const auto opened =
        tools.cipher.open(row.value, tools.owner->key, row.index, row.place, tools.opened);
    if (!opened) {
      return Err(Code::invalid,
                 "its payload \"" + std::string(wanted.name) + "\" is not what was stored");
    }
    tools.hex.clear();
    append_hex(bytes_of(sha256(tools.opened)), tools.hex);  // salt and bytes, one after the other
    if (tools.opened.size() != wanted.bytes + salt_bytes || tools.hex != wanted.commitment) {
      return Err(Code::invalid,
                 "its payload \"" + std::string(wanted.name) + "\" is not what was recorded");
    }
    return {};
  };
  for (std::size_t i = 0; i < block.rows.size(); ++i) {
    const LogRow& row = block.rows[i];
    Result<void> good;
    if (row.kind == RowKind::leaf) {
      auto examined = examine_leaf(row, tools.view);
      if (examined) {
        block.leaves.push_back(*examined);
      } else {
        good = Err(std::move(examined).error());
      }
    } else if (row.kind == RowKind::payload && !block.leaves.empty()) {
      good = payload(row, i);
    }
    if (!good) {
      block.bad_row = i;
      block.wrong = good.error();
      return;
    }
  }
}

}  // namespace ambit::log
