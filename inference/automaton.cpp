#include "inference/automaton.h"

#include "async/check.h"

#include <algorithm>
#include <unordered_set>

namespace ambit::inference {

std::size_t Automaton::Hash::operator()(const Node& node) const {
  std::uint64_t hash = static_cast<std::uint64_t>(node.kind) + (node.nullable ? 97U : 0U);
  const auto add = [&hash](std::uint64_t value) {
    hash = (hash ^ value) * 0x9E3779B97F4A7C15U;
    hash ^= hash >> 29U;
  };
  add(node.a);
  add(node.b);
  add(node.c);
  for (const ExpressionId choice : node.choices) add(choice);
  return hash;
}

Automaton::Automaton() {
  nodes_.push_back({});
  Node empty;
  empty.kind = Kind::nothing;
  empty.nullable = true;
  nodes_.push_back(empty);
}

ExpressionId Automaton::intern(Node node) {
  const auto found = ids_.find(node);
  if (found != ids_.end()) return found->second;
  const auto id = static_cast<ExpressionId>(nodes_.size());
  ids_.emplace(node, id);
  nodes_.push_back(std::move(node));
  return id;
}

ExpressionId Automaton::bytes(const ByteSet& set) {
  if (set.none()) return never;
  const auto [at, is_new] = set_ids_.emplace(set, static_cast<std::uint32_t>(sets_.size()));
  if (is_new) sets_.push_back(set);
  Node node;
  node.kind = Kind::bytes;
  node.a = at->second;
  return intern(std::move(node));
}

ExpressionId Automaton::text(std::string_view literal) {
  ExpressionId tail = nothing;
  for (auto c = literal.rbegin(); c != literal.rend(); ++c) {
    ByteSet one;
    one.set(static_cast<unsigned char>(*c));
    tail = sequence(bytes(one), tail);
  }
  return tail;
}

// Nested to the right, so that a state's first part is at the top.
ExpressionId Automaton::sequence(ExpressionId first, ExpressionId second) {
  if (first == never || second == never) return never;
  if (first == nothing) return second;
  if (second == nothing) return first;
  std::vector<ExpressionId> firsts;
  while (nodes_[first].kind == Kind::sequence) {
    firsts.push_back(nodes_[first].a);
    first = nodes_[first].b;
  }
  firsts.push_back(first);
  for (auto part = firsts.rbegin(); part != firsts.rend(); ++part) {
    Node node;
    node.kind = Kind::sequence;
    node.nullable = nodes_[*part].nullable && nodes_[second].nullable;
    node.a = *part;
    node.b = second;
    second = intern(std::move(node));
  }
  return second;
}

ExpressionId Automaton::sequence(std::initializer_list<ExpressionId> parts) {
  ExpressionId tail = nothing;
  for (const ExpressionId* part = parts.end(); part != parts.begin();)
    tail = sequence(*--part, tail);
  return tail;
}

ExpressionId Automaton::either(const std::vector<ExpressionId>& choices) {
  std::vector<ExpressionId> flat;
  for (const ExpressionId choice : choices) {
    const Node& node = nodes_[choice];
    if (node.kind == Kind::either)
      flat.insert(flat.end(), node.choices.begin(), node.choices.end());
    else if (choice != never)
      flat.push_back(choice);
  }
  std::sort(flat.begin(), flat.end());
  flat.erase(std::unique(flat.begin(), flat.end()), flat.end());
  if (flat.empty()) return never;
  if (flat.size() == 1) return flat[0];
  Node node;
  node.kind = Kind::either;
  for (const ExpressionId choice : flat) node.nullable = node.nullable || nodes_[choice].nullable;
  node.choices = std::move(flat);
  return intern(std::move(node));
}

ExpressionId Automaton::repeat(ExpressionId body, std::uint32_t least, std::uint32_t most) {
  if (most < least) return never;
  if (most == 0 || body == nothing) return nothing;
  if (body == never) return least == 0 ? nothing : never;
  if (least == 1 && most == 1) return body;
  Node node;
  node.kind = Kind::repeat;
  node.nullable = least == 0 || nodes_[body].nullable;
  node.a = body;
  node.b = least;
  node.c = most;
  return intern(std::move(node));
}

ExpressionId Automaton::until(std::string_view tag, ExpressionId body, bool may_end) {
  INVARIANT(!tag.empty());
  Tag made{std::string(tag), std::vector<std::uint32_t>(tag.size(), 0)};
  for (std::size_t i = 1; i < tag.size(); ++i) {
    std::uint32_t border = made.fallback[i - 1];
    while (border > 0 && tag[border] != tag[i]) border = made.fallback[border - 1];
    made.fallback[i] = tag[border] == tag[i] ? border + 1 : 0;
  }
  std::size_t index = 0;
  while (index < tags_.size() && tags_[index].text != tag) ++index;
  if (index == tags_.size()) tags_.push_back(std::move(made));
  Node node;
  node.kind = Kind::until;
  node.nullable = may_end;
  node.a = body;
  node.b = static_cast<std::uint32_t>(index);
  return intern(std::move(node));
}

ExpressionId Automaton::both(ExpressionId a, ExpressionId b) {
  if (a == never || b == never) return never;
  if (a == b) return a;
  return paired(Kind::both, std::min(a, b), std::max(a, b));
}

ExpressionId Automaton::except(ExpressionId a, ExpressionId b) {
  if (a == never || a == b) return never;
  if (b == never) return a;
  return paired(Kind::except, a, b);
}

ExpressionId Automaton::paired(Kind kind, ExpressionId a, ExpressionId b) {
  Node node;
  node.kind = kind;
  node.nullable = nodes_[a].nullable && nodes_[b].nullable == (kind == Kind::both);
  node.a = a;
  node.b = b;
  const ExpressionId made = intern(std::move(node));
  return !searching_ && is_dead(made) ? never : made;
}

// Looks for a text from here, the nearest states first. Without an answer in time it is alive.
bool Automaton::is_dead(ExpressionId state) {
  if (nodes_[state].nullable) return false;
  if (const auto known = dead_.find(state); known != dead_.end()) return known->second;
  searching_ = true;
  std::vector<ExpressionId> reached = {state};
  std::unordered_set<ExpressionId> seen = {state};
  bool dead = true;
  for (std::size_t next = 0; dead && next < reached.size(); ++next) {
    for (unsigned byte = 0; dead && byte < 256; ++byte) {
      const ExpressionId after = derive(reached[next], static_cast<unsigned char>(byte));
      if (after == never) continue;
      const auto known = dead_.find(after);
      if (known != dead_.end() && known->second) continue;
      const bool alive = nodes_[after].nullable || known != dead_.end();
      if (alive || reached.size() > search_max) dead = false;
      if (seen.insert(after).second) reached.push_back(after);
    }
  }
  searching_ = false;
  if (dead)
    for (const ExpressionId each : reached) dead_[each] = true;
  else
    dead_[state] = false;
  return dead;
}

ExpressionId Automaton::declare(bool may_be_empty) {
  Node node;
  node.kind = Kind::rule;
  node.nullable = may_be_empty;
  node.a = static_cast<std::uint32_t>(rules_.size());
  rules_.push_back(never);
  return intern(std::move(node));
}

void Automaton::define(ExpressionId rule, ExpressionId body) {
  INVARIANT(nodes_[rule].kind == Kind::rule && nodes_[rule].nullable == nodes_[body].nullable);
  rules_[nodes_[rule].a] = body;
}

// The least fixed point. The parts of an expression are older than itself, so one pass in the order
// of their ages knows all but what comes by way of a rule that was not known to have a text yet.
bool Automaton::has_text(ExpressionId language) const {
  std::vector<bool> has(nodes_.size());
  for (bool grows = true; grows;) {
    grows = false;
    for (std::size_t id = 0; id < nodes_.size(); ++id) {
      if (has[id]) continue;
      const Node& node = nodes_[id];
      bool found = node.nullable || node.kind == Kind::bytes || node.kind == Kind::both ||
                   node.kind == Kind::except;
      if (node.kind == Kind::sequence) found = has[node.a] && has[node.b];
      if (node.kind == Kind::repeat || node.kind == Kind::until) found = found || has[node.a];
      if (node.kind == Kind::rule) found = found || has[rules_[node.a]];
      for (const ExpressionId choice : node.choices) found = found || has[choice];
      has[id] = found;
      grows = grows || (found && !rules_.empty());
    }
  }
  return has[language];
}

ExpressionId Automaton::step(ExpressionId state, unsigned char byte) {
  if (state <= nothing) return never;
  if (searching_) return derive(state, byte);  // what is found there is not to be kept
  auto& row = steps_[state];
  if (row == nullptr) {
    row = std::make_unique<std::array<ExpressionId, 256>>();
    row->fill(unknown);
  }
  ExpressionId& next = (*row)[byte];
  if (next == unknown) next = derive(state, byte);
  return next;
}

ExpressionId Automaton::derive(ExpressionId state, unsigned char byte) {
  const Node node = nodes_[state];  // a copy: building moves the nodes
  switch (node.kind) {
    case Kind::never:
    case Kind::nothing:
      return never;
    case Kind::bytes:
      return sets_[node.a][byte] ? nothing : never;
    case Kind::sequence: {
      const ExpressionId first = sequence(derive(node.a, byte), node.b);
      if (!nodes_[node.a].nullable) return first;
      return either({first, derive(node.b, byte)});
    }
    case Kind::either: {
      std::vector<ExpressionId> next;
      for (const ExpressionId choice : node.choices) next.push_back(derive(choice, byte));
      return either(std::move(next));
    }
    case Kind::repeat: {
      const ExpressionId after = derive(node.a, byte);
      if (after == never) return never;
      const std::uint32_t most = node.c == unbounded ? unbounded : node.c - 1;
      return sequence(after, repeat(node.a, node.b > 0 ? node.b - 1 : 0, most));
    }
    case Kind::both:
    case Kind::except: {
      const ExpressionId a = derive(node.a, byte);
      const ExpressionId b = a == never ? never : derive(node.b, byte);
      return node.kind == Kind::both ? both(a, b) : except(a, b);
    }
    case Kind::rule:
      return step(rules_[node.a], byte);
    case Kind::until: {
      const Tag& tag = tags_[node.b];
      std::uint32_t seen = node.c;
      while (seen > 0 && static_cast<unsigned char>(tag.text[seen]) != byte)
        seen = tag.fallback[seen - 1];
      if (static_cast<unsigned char>(tag.text[seen]) == byte) ++seen;
      if (seen == tag.text.size()) return node.a;
      Node next = node;
      next.c = seen;
      return intern(std::move(next));
    }
  }
  return never;
}

}  // namespace ambit::inference
