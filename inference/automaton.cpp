#include "inference/automaton.h"

#include "async/check.h"

#include <algorithm>
#include <unordered_set>

namespace ambit::inference {

namespace {

constexpr std::size_t depth_max = 2000;  // of derive() in itself

std::size_t first_of(const ByteSet& set) {
  std::size_t byte = 0;
  while (!set[byte]) ++byte;
  return byte;
}

}  // namespace

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
  classes_.push_back(ByteSet().set());
  firsts_.set(0);
  rows_.push_back(std::make_unique<Row>());  // whatever follows `never` or `nothing`: never
  rows_.push_back(std::make_unique<Row>());
}

void Automaton::tell_apart(const ByteSet& set) {
  for (std::size_t at = 0, count = classes_.size(); at < count; ++at) {
    const ByteSet in = classes_[at] & set;
    if (in.none() || in == classes_[at]) continue;
    const auto made = static_cast<std::uint8_t>(classes_.size());
    classes_.push_back(classes_[at] & ~set);
    classes_[at] = in;
    for (const std::size_t each : {at, classes_.size() - 1}) firsts_.set(first_of(classes_[each]));
    for (std::size_t byte = 0; byte < class_of_.size(); ++byte)
      if (classes_[made][byte]) class_of_[byte] = made;
  }
}

ExpressionId Automaton::intern(Node node) {
  const auto found = ids_.find(node);
  if (found != ids_.end()) return found->second;
  const auto id = static_cast<ExpressionId>(nodes_.size());
  node.is_plain = plain(node);
  constexpr std::int64_t work_of_node = 2;
  constexpr std::size_t kept_beside = 64;  // by the table
  work_ += work_of_node;
  memory_bytes_ += 2 * (sizeof node + node.choices.size() * sizeof(ExpressionId)) + kept_beside;
  ids_.emplace(node, id);
  nodes_.push_back(std::move(node));
  return id;
}

bool Automaton::plain(const Node& node) const {
  switch (node.kind) {
    case Kind::both:
    case Kind::except:
    case Kind::rule:
      return false;
    case Kind::sequence:
      return nodes_[node.a].is_plain && nodes_[node.b].is_plain;
    case Kind::repeat:
    case Kind::until:
      return nodes_[node.a].is_plain;
    case Kind::either:
      return std::all_of(node.choices.begin(), node.choices.end(),
                         [this](ExpressionId choice) { return nodes_[choice].is_plain; });
    default:
      return true;
  }
}

ExpressionId Automaton::bytes(const ByteSet& set) {
  if (set.none()) return never;
  const auto [at, is_new] = set_ids_.emplace(set, static_cast<std::uint32_t>(sets_.size()));
  if (is_new) {
    sets_.push_back(set);
    tell_apart(set);
  }
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
  if (choices.size() == 1) return choices[0];
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
  if (index == tags_.size()) {
    tags_.push_back(std::move(made));
    for (const char c : tag) tell_apart(ByteSet().set(static_cast<unsigned char>(c)));
  }
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

// Looks for a text from here, the nearest states first. Without an answer in time it is alive. What
// is found on the way is kept: all that leads to a text is alive.
bool Automaton::is_dead(ExpressionId state) {
  if (nodes_[state].nullable) return false;
  if (const auto known = dead_.find(state); known != dead_.end()) return known->second;
  searching_ = true;
  struct Reached {
    ExpressionId state;
    std::size_t from;
  };
  std::vector<Reached> reached = {{state, 0}};
  std::unordered_set<ExpressionId> seen = {state};
  bool dead = true;
  for (std::size_t at = 0; dead && at < reached.size(); ++at) {
    for (unsigned byte = 0; dead && byte < 256; ++byte) {
      if (!firsts_[byte]) continue;
      const ExpressionId after = derive(reached[at].state, static_cast<unsigned char>(byte));
      if (after == never) continue;
      const auto known = dead_.find(after);
      if (known != dead_.end() && known->second) continue;
      const bool alive = nodes_[after].nullable || known != dead_.end();
      if (alive) {
        for (std::size_t back = at; back > 0; back = reached[back].from)
          dead_[reached[back].state] = false;
      }
      if (alive || reached.size() > search_max || is_overrun()) dead = false;
      if (seen.insert(after).second) reached.push_back({after, at});
    }
  }
  searching_ = false;
  if (dead)
    for (const Reached& each : reached) dead_[each.state] = true;
  else if (!is_overrun())
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

// The least fixed point over all parts of the language. The parts of an expression are older than
// itself, so one pass in the order of their ages knows all but what comes by way of a rule that was
// not known to have a text yet.
bool Automaton::has_text(ExpressionId language) const {
  std::vector<ExpressionId> parts = {language};
  std::unordered_set<ExpressionId> seen = {language};
  bool has_rules = false;
  for (std::size_t at = 0; at < parts.size(); ++at) {
    const Node& node = nodes_[parts[at]];
    const auto reach = [&](ExpressionId part) {
      if (seen.insert(part).second) parts.push_back(part);
    };
    if (node.kind == Kind::sequence || node.kind == Kind::repeat || node.kind == Kind::until)
      reach(node.a);
    if (node.kind == Kind::sequence) reach(node.b);
    if (node.kind == Kind::rule) reach(rules_[node.a]);
    has_rules = has_rules || node.kind == Kind::rule;
    for (const ExpressionId choice : node.choices) reach(choice);
  }
  std::sort(parts.begin(), parts.end());
  std::unordered_set<ExpressionId> has;
  const auto has_one = [&has](ExpressionId part) { return has.contains(part); };
  for (bool grows = true; grows;) {
    grows = false;
    for (const ExpressionId id : parts) {
      if (has_one(id)) continue;
      const Node& node = nodes_[id];
      bool found = node.nullable || node.kind == Kind::bytes || node.kind == Kind::both ||
                   node.kind == Kind::except;
      if (node.kind == Kind::sequence) found = has_one(node.a) && has_one(node.b);
      if (node.kind == Kind::repeat || node.kind == Kind::until) found = found || has_one(node.a);
      if (node.kind == Kind::rule) found = found || has_one(rules_[node.a]);
      found = found || std::any_of(node.choices.begin(), node.choices.end(), has_one);
      if (!found) continue;
      has.insert(id);
      grows = has_rules;
    }
  }
  return has_one(language);
}

ExpressionId Automaton::find_step(ExpressionId state, unsigned char byte) {
  // What is found while a search is on is not to be kept where the search is about it.
  if (searching_ && !nodes_[state].is_plain) return derive(state, byte);
  if (rows_.size() <= state) rows_.resize(nodes_.size());
  if (rows_[state] == nullptr) {
    constexpr std::int64_t work_of_row = 8;
    work_ += work_of_row;
    memory_bytes_ += sizeof(Row);
    rows_[state] = std::make_unique<Row>();
    rows_[state]->next.fill(unknown);
  }
  if (rows_[state]->next[byte] == unknown) {
    const ExpressionId next = derive(state, byte);
    if (is_broken_) return never;
    const ByteSet& alike = classes_[class_of_[byte]];
    for (std::size_t other = 0; other < alike.size(); ++other)
      if (alike[other]) rows_[state]->next[other] = next;
  }
  return rows_[state]->next[byte];
}

const Automaton::Lane& Automaton::lane(ExpressionId state) {
  if (state < rows_.size() && rows_[state] != nullptr && rows_[state]->lane)
    return *rows_[state]->lane;
  std::vector<Lane> lanes;
  for (std::size_t byte = 0; byte < firsts_.size(); ++byte) {
    if (!firsts_[byte]) continue;
    const ExpressionId next = step(state, static_cast<unsigned char>(byte));
    if (next == never) continue;
    const auto same = [next](const Lane& lane) { return lane.next == next; };
    auto at = std::find_if(lanes.begin(), lanes.end(), same);
    if (at == lanes.end()) at = lanes.insert(at, Lane{next, {}});
    at->bytes |= classes_[class_of_[byte]];
  }
  const auto wider = [](const Lane& a, const Lane& b) { return a.bytes.count() < b.bytes.count(); };
  const auto widest = std::max_element(lanes.begin(), lanes.end(), wider);
  return rows_[state]->lane.emplace(widest == lanes.end() ? Lane() : *widest);
}

ExpressionId Automaton::derive(ExpressionId state, unsigned char byte) {
  ++work_;
  if (depth_ == depth_max) is_broken_ = true;
  if (is_broken_) return never;
  ++depth_;
  const ExpressionId next = derive_part(state, byte);
  --depth_;
  return next;
}

ExpressionId Automaton::derive_part(ExpressionId state, unsigned char byte) {
  // Copies: building moves the nodes.
  const Kind kind = nodes_[state].kind;
  const bool nullable = nodes_[state].nullable;
  const std::uint32_t a = nodes_[state].a;
  const std::uint32_t b = nodes_[state].b;
  const std::uint32_t c = nodes_[state].c;
  switch (kind) {
    case Kind::never:
    case Kind::nothing:
      return never;
    case Kind::bytes:
      return sets_[a][byte] ? nothing : never;
    case Kind::sequence: {
      std::vector<ExpressionId> next = {sequence(derive(a, byte), b)};
      ExpressionId rest = nodes_[a].nullable ? b : nothing;
      while (nodes_[rest].kind == Kind::sequence) {  // parts that may be left out, however many
        const ExpressionId part = nodes_[rest].a;
        const ExpressionId after = nodes_[rest].b;
        next.push_back(sequence(derive(part, byte), after));
        rest = nodes_[part].nullable ? after : nothing;
      }
      if (rest != nothing) next.push_back(derive(rest, byte));
      return either(next);
    }
    case Kind::either: {
      std::vector<ExpressionId> next;
      for (std::size_t i = 0; i < nodes_[state].choices.size(); ++i) {
        const ExpressionId after = derive(nodes_[state].choices[i], byte);
        if (after != never) next.push_back(after);
      }
      return either(next);
    }
    case Kind::repeat: {
      const ExpressionId after = step(a, byte);  // one body serves many counts
      if (after == never) return never;
      return sequence(after, repeat(a, b > 0 ? b - 1 : 0, c == unbounded ? unbounded : c - 1));
    }
    case Kind::both:
    case Kind::except: {
      const ExpressionId first = derive(a, byte);
      const ExpressionId second = first == never ? never : derive(b, byte);
      return kind == Kind::both ? both(first, second) : except(first, second);
    }
    case Kind::rule:
      return find_step(rules_[a], byte);
    case Kind::until: {
      const Tag& tag = tags_[b];
      std::uint32_t seen = c;
      while (seen > 0 && static_cast<unsigned char>(tag.text[seen]) != byte)
        seen = tag.fallback[seen - 1];
      if (static_cast<unsigned char>(tag.text[seen]) == byte) ++seen;
      if (seen == tag.text.size()) return a;
      Node next;
      next.kind = kind;
      next.nullable = nullable;
      next.a = a;
      next.b = b;
      next.c = seen;
      return intern(std::move(next));
    }
  }
  return never;
}

}  // namespace ambit::inference
