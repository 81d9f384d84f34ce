#include "inference/decoder.h"

#include <algorithm>
#include <iterator>
#include <limits>

namespace ambit::inference {

namespace {

constexpr int logprobs_max = 64;
// Of a pass of prompts that nobody who decodes waits for: fewer would live off the weights.
constexpr std::size_t prompt_rows_least = 512;
constexpr std::size_t stops_max = 64;

TurnShape shape_of(const agents::TurnRequest& request) {
  return {request.tools.get(), request.tool_choice, request.output_schema, request.output_pattern,
          request.output_grammar};
}

// What a text that ends before the first stop has for certain, whatever may follow.
std::size_t sure_length(std::string_view text, const std::vector<std::string>& stops) {
  std::size_t sure = text.size();
  for (const std::string& stop : stops) {
    if (stop.empty()) continue;
    const std::size_t at = text.find(stop);
    sure = std::min(sure, at != std::string_view::npos ? at : text.size() - begun(text, stop));
  }
  return sure;
}

constexpr double host_bytes_per_s = 2e10;  // to a GPU and back
constexpr double disk_bytes_per_s = 5e8;
constexpr double core_operations_per_s = 2.5e11;
constexpr double gpu_operations_per_s = 2e14;

// As far as sizes tell: a slow tier against a core, or a GPU, at its best.
TierChoice tier_prior(const Model& model, std::size_t page_bytes, double bytes_per_s,
                      double operations_per_s) {
  double weights = 0;
  for (const TensorView& tensor : model.file->tensors())
    weights += static_cast<double>(tensor.elements());
  const Config& config = model.config;
  if (config.experts > 0)
    weights *= static_cast<double>(config.experts_used) / static_cast<double>(config.experts);
  const double compute_s = 2 * weights * static_cast<double>(page_tokens) / operations_per_s;
  return {static_cast<double>(page_bytes) / bytes_per_s, compute_s};
}

}  // namespace

Result<std::unique_ptr<Decoder>> Decoder::make(std::shared_ptr<const ModelFile> file,
                                               EngineOptions options) {
  if (options.threads < 1 || options.threads > 256)
    return Err(Code::invalid, "threads must be from 1 to 256");
  if (options.batch_max < 1 || options.batch_max > 4096)
    return Err(Code::invalid, "the batch must be from 1 to 4096 sessions");
  if (options.step_tokens_max < 1 || options.step_tokens_max > 65'536)
    return Err(Code::invalid, "a step must take from 1 to 65536 tokens");
  options.step_tokens_max = std::max(options.step_tokens_max, options.batch_max);
  BackendChoice choice;
  choice.device = options.device;
  choice.rows_max = options.step_tokens_max;
  choice.context_max = options.context_max;
  choice.kv_type = options.kv_type;
  choice.threads = options.threads;
  choice.pin_threads = options.pin_threads;
  choice.instruction_set = options.instruction_set;
  choice.fp8_weights = options.fp8_weights;
  choice.prompt_rows_max = std::max(options.step_tokens_max, prompt_rows_least);
  choice.prefill_device = options.prefill_device;
  choice.kv_bytes = options.kv_bytes;
  choice.open_device = options.open_device;
  choice.residencies = options.residencies;
  choice.parks = options.parks;
  MadeBackend made = TRY(make_backend(file->model(), choice));
  if (made.takes_turns && options.warn)
    options.warn(
        "with it the models on its GPU do not fit there at once: their weights wait in host memory "
        "and take turns");
  const std::size_t page = made.backend->page_bytes();
  const std::size_t pages = options.kv_bytes / page;
  if (pages < 2)
    return Err(Code::invalid, "the KV cache of " + std::to_string(options.kv_bytes) +
                                  " bytes holds fewer than 2 pages of " + std::to_string(page));
  std::unique_ptr<PageTier> disk;
  if (options.kv_disk_bytes > 0 && options.kv_disk_pays.value_or(true))
    disk =
        TRY(PageFile::open(options.kv_disk_folder, page, options.kv_disk_bytes, options.clock_us));
  // "auto" may have found no GPU.
  const bool has_host_tier = made.pool == nullptr || options.device != "auto";
  const bool uses_host = has_host_tier && options.kv_host_pays.value_or(true);
  auto tier = TRY(made.backend->lower_tier(uses_host ? options.kv_host_bytes : 0, std::move(disk)));
  return std::unique_ptr<Decoder>(
      new Decoder(std::move(file), std::move(options), std::move(made), pages, std::move(tier)));
}

Decoder::Decoder(std::shared_ptr<const ModelFile> file, EngineOptions options, MadeBackend made,
                 std::size_t pages, std::unique_ptr<PageTier> tier)
    : file_(std::move(file)),
      options_(std::move(options)),
      pool_(std::move(made.pool)),
      forward_(file_->model(), std::move(made.backend), options_.step_tokens_max),
      place_(made.place),
      prompts_(std::move(made.prompts)),
      cache_(forward_.page_bytes(), pages, &forward_.backend().pages(), std::move(tier)),
      scheduler_(file_->tokenizer(), file_->model().config, forward_, cache_,
                 {options_.batch_max, options_.step_tokens_max, options_.context_max, 1U << 20U,
                  options_.clock_us, options_.draft_max},
                 prompts_.get()),
      grammar_(std::make_shared<Grammar>(file_->tokenizer())),
      host_choice_(tier_prior(file_->model(), forward_.page_bytes(), host_bytes_per_s,
                              gpu_operations_per_s)),
      disk_choice_(tier_prior(
          file_->model(), forward_.page_bytes(), disk_bytes_per_s,
          pool_ == nullptr ? gpu_operations_per_s
                           : core_operations_per_s * static_cast<double>(options_.threads))) {
  choose_tiers();
  open_energy();
}

// A GPU's engine keeps one of our threads busy, and several engines may share a GPU.
void Decoder::open_energy() {
  if (options_.energy == nullptr || !options_.clock_us) return;
  const bool is_ours = pool_ != nullptr;
  const std::int64_t now = options_.clock_us();
  EngineEnergy& energy = scheduler_.energy();
  energy.open(options_.energy->processors(), is_ours ? static_cast<double>(options_.threads) : 1,
              now);
  if (is_ours) return;
  const bool is_named = options_.device.starts_with("cuda:");
  energy.open(options_.energy->device(is_named ? options_.device : "cuda:0"), 1, now,
              [this] { return forward_.backend().joules(); });
}

// One language for all turns that offer the same; asking again costs a look-up.
Result<ExpressionId> Decoder::language(const agents::TurnRequest& request) {
  std::string key = std::to_string(static_cast<int>(request.tool_choice)) + '\0' +
                    request.output_schema + '\0' + request.output_pattern + '\0' +
                    request.output_grammar;
  if (request.tools)
    for (const agents::ToolSpec& tool : *request.tools)
      key.append(1, '\0').append(tool.name).append(1, '\0').append(tool.input_schema);
  constexpr std::size_t kept_bytes_max = Automaton::memory_bytes_max / 4;
  const auto begin_anew = [&] {
    grammar_ = std::make_shared<Grammar>(file_->tokenizer());  // running turns keep the old one
    languages_.clear();
  };
  if (grammar_->automaton().is_full()) begin_anew();
  const auto known = languages_.find(key);
  if (known != languages_.end()) return known->second;
  if (grammar_->automaton().memory_bytes() > kept_bytes_max || languages_.size() > 4096)
    begin_anew();
  constexpr std::int64_t work_max =
      1 << 23;  // some tenths of a second; public schemas take less than 2^15
  Automaton& automaton = grammar_->automaton();
  automaton.allow(work_max);
  const ExpressionId made =
      TRY(turn_language(automaton, file_->chat().dialect(), shape_of(request)));
  if (automaton.is_overrun())
    return Err(Code::exhausted,
               "what the answer must be takes too much work to follow: make its schema, pattern or "
               "grammar simpler");
  languages_.emplace(std::move(key), made);
  return made;
}

Result<std::uint64_t> Decoder::submit(const agents::TurnRequest& request, bool streams) {
  if (!request.messages.empty() && !request.text.empty())
    return Err(Code::invalid, "a text to go on with and a conversation exclude each other");
  if (request.messages.empty() && request.text.empty())
    return Err(Code::invalid, "the conversation is empty");
  if (request.tokens_max < 1) return Err(Code::invalid, "tokens_max must be at least 1");
  Generation generation;
  generation.session = request.session;
  generation.prompt = request.text.empty()
                          ? TRY(file_->chat().prompt(request.messages, request.tools.get()))
                          : file_->tokenizer().encode_whole(request.text);
  generation.sampling = request.sampling;
  generation.tokens_max = static_cast<std::size_t>(request.tokens_max);
  generation.priority = request.priority;
  generation.due_s = request.due_s;
  if (request.logprobs > logprobs_max)
    return Err(Code::invalid, "at most " + std::to_string(logprobs_max) +
                                  " likeliest tokens can be told beside each");
  if (request.stop.size() > stops_max)
    return Err(Code::invalid, "at most " + std::to_string(stops_max) + " texts can end a turn");
  generation.logprobs = request.logprobs;
  generation.stop = request.stop;
  if (options_.grammar && !is_free(shape_of(request))) {
    generation.start = TRY(language(request));
    generation.grammar = grammar_;
  }
  Open open;
  open.session = request.session;
  if (auto ahead = ahead_.extract(request.session); !ahead.empty()) {
    stop_ahead(ahead.mapped());
    open.computed_ahead = ahead.mapped().computed;
  }
  open.reads_calls =
      request.tools && !request.tools->empty() && request.tool_choice != agents::ToolChoice::none;
  open.stop = request.stop;
  for (const agents::Message& message : request.messages)
    open.calls_before += message.tool_calls.size();
  if (streams) open.detokenizer.emplace(file_->tokenizer());
  return submit(std::move(generation), std::move(open));
}

Result<std::uint64_t> Decoder::submit(const agents::EmbeddingRequest& request) {
  Generation generation;
  generation.prompt = file_->tokenizer().encode_whole(request.text, false);
  generation.priority = request.priority;
  generation.due_s = request.due_s;
  generation.pooling = file_->model().config.pools_last ? Pooling::last : Pooling::mean;
  Open open;
  open.is_embedding = true;
  return submit(std::move(generation), std::move(open));
}

Result<std::uint64_t> Decoder::submit(Generation generation, Open open) {
  const auto id = std::make_shared<std::uint64_t>(0);
  if (open.detokenizer) generation.on_token = [this, id](TokenId token) { hear(*id, token); };
  *id = TRY(scheduler_.submit(std::move(generation)));
  open_.emplace(*id, std::move(open));
  return *id;
}

void Decoder::hear(std::uint64_t id, TokenId token) {
  Open& open = open_.at(id);
  open.text += open.detokenizer->push(token);
  const std::string_view text = open.text;
  std::size_t sure = sure_length(text, open.stop);
  if (open.reads_calls) sure = sure_content(file_->chat().dialect(), text.substr(0, sure));
  if (sure <= open.told) return;
  said_.emplace_back(id, text.substr(open.told, sure - open.told));
  open.told = sure;
}

void Decoder::Progress::clear() {
  said.clear();
  ended.clear();
  embedded.clear();
}

void Decoder::cancel(std::uint64_t id) {
  scheduler_.cancel(id);
  open_.erase(id);
  if (place_ != nullptr && scheduler_.idle()) place_->rest(false);
}

void Decoder::observe(const std::string& session, agents::SessionEvent event) {
  switch (event) {
    case agents::SessionEvent::call_begins:
      return cache_.park(session, true);
    case agents::SessionEvent::parked:
      return cache_.park(session, false);
    case agents::SessionEvent::call_ends_soon:
      if (place_ != nullptr) place_->expect();
      return cache_.expect(session);
    case agents::SessionEvent::ended:
    case agents::SessionEvent::gone:
      if (auto ahead = ahead_.extract(session); !ahead.empty()) stop_ahead(ahead.mapped());
      return event == agents::SessionEvent::gone ? scheduler_.forget(session)
                                                 : cache_.leave(session);
  }
}

void Decoder::Stretch::add(const Scheduler::Computed& computed) {
  moved_bytes += computed.moved_bytes;
  energy_uj += computed.energy_uj;
  if (computed.begin >= computed.end) return;
  if (end == 0) begin = computed.begin;
  end = std::max(end, computed.end);
}

std::size_t Decoder::Stretch::within(std::size_t count) const {
  return count > begin ? std::min(count, end) - begin : 0;
}

Result<std::vector<TokenId>> Decoder::certain_tokens(const agents::TurnRequest& request,
                                                     std::string result) const {
  std::vector<agents::Message> messages = request.messages;
  const auto asked = std::find_if(messages.rbegin(), messages.rend(), [](const auto& message) {
    return message.role == agents::Role::assistant;
  });
  const auto answered = static_cast<std::size_t>(asked - messages.rbegin());
  if (asked == messages.rend() || answered >= asked->tool_calls.size())
    return std::vector<TokenId>();
  // White space may turn out to be its end, which templates trim.
  result.resize(result.find_last_not_of(" \t\n\r\f\v") + 1);
  // Two results that go on differently: what is the same in both texts stands before that.
  const agents::ToolCall call = asked->tool_calls[answered];
  messages.push_back({agents::Role::tool, result + "0", {}, call.id, call.name});
  const std::string one = TRY(file_->chat().render(messages, request.tools.get()));
  messages.back().content = result + "x";
  std::string other = TRY(file_->chat().render(messages, request.tools.get()));
  const auto differ = std::mismatch(one.begin(), one.end(), other.begin(), other.end());
  other.resize(static_cast<std::size_t>(differ.second - other.begin()));
  other.resize(file_->tokenizer().certain_length(other));
  return file_->tokenizer().encode_whole(other);
}

void Decoder::foresee(agents::TurnRequest request, std::string result) {
  constexpr std::size_t ahead_sessions_max = 1U << 16U;
  if (request.session.empty()) return;
  if (const auto known = ahead_.find(request.session); known != ahead_.end() && known->second.id) {
    known->second.next.emplace(std::move(request), std::move(result));
    return;
  }
  if (ahead_.size() >= ahead_sessions_max) return;
  auto tokens = certain_tokens(request, std::move(result));
  if (!tokens || tokens->empty()) return;
  Generation generation;
  generation.session = request.session;
  generation.prompt = std::move(*tokens);
  generation.pooling = Pooling::prefill;
  generation.priority = std::numeric_limits<int>::min() + 1;
  Open open;
  open.session = request.session;
  open.is_ahead = true;
  if (const auto id = submit(std::move(generation), std::move(open)))
    ahead_[request.session].id = *id;
}

void Decoder::stop_ahead(Ahead& ahead) {
  ahead.next.reset();
  if (!ahead.id) return;
  ahead.computed.add(scheduler_.cancel(*ahead.id));
  open_.erase(*ahead.id);
  ahead.id.reset();
}

void Decoder::end_ahead(const std::string& session, const Generated& generated) {
  Ahead& ahead = ahead_[session];
  ahead.id.reset();
  auto next = std::exchange(ahead.next, std::nullopt);
  if (generated.error) return;
  const agents::Usage& usage = generated.usage;
  ahead.computed.add({static_cast<std::size_t>(usage.cached_tokens),
                      static_cast<std::size_t>(usage.input_tokens), usage.moved_bytes,
                      usage.energy_uj});
  if (next) foresee(std::move(next->first), std::move(next->second));
}

void Decoder::tell_of_tiers() {
  if (!options_.warn) return;
  const KvCache::Stats stats = cache_.stats();
  const auto tell = [this](const KvCache::TierStats& now, KvCache::TierStats& told,
                           const std::string& from, const std::string& kept) {
    if (now.damaged > told.damaged)
      options_.warn(std::to_string(now.damaged - told.damaged) +
                    " pages of keys and values came back damaged from " + from +
                    " and are computed again");
    if (now.failed && !told.failed) options_.warn(kept);
    told = now;
  };
  tell(stats.host, host_told_, "host memory",
       "keys and values stay on the GPU from now on: copying them to host memory failed");
  tell(stats.disk, disk_told_, options_.kv_disk_folder,
       "keys and values stay in memory from now on: writing them to " + options_.kv_disk_folder +
           " failed");
}

void Decoder::choose_tiers() {
  if (options_.kv_disk_bytes == 0 && options_.kv_host_bytes == 0) return;
  const Scheduler::Stats ran = scheduler_.stats();
  const KvCache::Stats kv = cache_.stats();
  constexpr double us = 1e-6;
  const auto choose = [&](TierChoice& choice, const std::optional<bool>& stated, Tier tier,
                          const KvCache::TierStats& now, const KvCache::TierStats& before) {
    if (stated) return;
    choice.add_computed(
        static_cast<double>(ran.prompt_tokens - ran_before_.prompt_tokens) / page_tokens,
        static_cast<double>(ran.prompt_us - ran_before_.prompt_us) * us);
    choice.add_read(static_cast<double>(now.timed - before.timed),
                    static_cast<double>(now.read_us - before.read_us) * us);
    choice.add_probes(static_cast<double>(now.probes - before.probes),
                      static_cast<double>(now.probe_us - before.probe_us) * us);
    cache_.use(tier, choice.pays());
  };
  if (options_.kv_host_bytes > 0)
    choose(host_choice_, options_.kv_host_pays, Tier::host, kv.host, kv_before_.host);
  if (options_.kv_disk_bytes > 0)
    choose(disk_choice_, options_.kv_disk_pays, Tier::disk, kv.disk, kv_before_.disk);
  ran_before_ = ran;
  kv_before_ = kv;
}

void Decoder::step(Progress& progress) {
  generated_.clear();
  said_.clear();
  step_scheduler();
  tell_of_tiers();
  choose_tiers();
  std::move(said_.begin(), said_.end(), std::back_inserter(progress.said));
  for (Generated& generated : generated_) {
    const auto node = open_.extract(generated.id);
    const Open& open = node.mapped();
    if (open.is_ahead) {
      end_ahead(open.session, generated);
      continue;
    }
    if (open.is_embedding && generated.error) {
      progress.embedded.emplace_back(generated.id, Err(std::move(*generated.error)));
      continue;
    }
    if (open.is_embedding) {
      progress.embedded.emplace_back(generated.id, agents::Embedding{std::move(generated.pooled),
                                                                     generated.usage.input_tokens});
      continue;
    }
    if (generated.error) {
      progress.ended.emplace_back(generated.id, Err(std::move(*generated.error)));
      continue;
    }
    agents::Turn turn = read(open, generated);
    if (open.detokenizer && open.told < turn.message.content.size())
      progress.said.emplace_back(generated.id, turn.message.content.substr(open.told));
    progress.ended.emplace_back(generated.id, std::move(turn));
  }
}

agents::Turn Decoder::read(const Open& open, const Generated& generated) const {
  agents::Turn turn;
  turn.usage = generated.usage;
  turn.usage.cached_tokens -= static_cast<std::int64_t>(
      open.computed_ahead.within(static_cast<std::size_t>(turn.usage.cached_tokens)));
  turn.usage.moved_bytes += open.computed_ahead.moved_bytes;
  turn.usage.energy_uj += open.computed_ahead.energy_uj;
  turn.device = forward_.backend().device();
  if (turn.device.empty()) turn.device = options_.processor;
  turn.message.role = agents::Role::assistant;
  turn.finish = generated.ended ? agents::FinishReason::stop : agents::FinishReason::length;
  Detokenizer detokenizer(file_->tokenizer());
  std::string text;
  for (const TokenId token : generated.tokens) text += detokenizer.push(token);
  text += detokenizer.finish();
  std::size_t end = text.size();
  for (const std::string& stop : open.stop)
    if (!stop.empty()) end = std::min(end, text.find(stop));
  text.resize(end);
  for (const auto& token : generated.logprobs) {
    agents::TokenLogprob told = {
        std::string(file_->tokenizer().bytes(token[0].token)), token[0].logprob, {}};
    for (std::size_t i = 1; i < token.size(); ++i)
      told.likeliest.emplace_back(file_->tokenizer().bytes(token[i].token), token[i].logprob);
    turn.logprobs.push_back(std::move(told));
  }
  SpokenTurn spoken =
      open.reads_calls ? read_turn(file_->chat().dialect(), text) : SpokenTurn{std::move(text), {}};
  turn.message.content = std::move(spoken.content);
  turn.message.tool_calls = std::move(spoken.calls);
  for (std::size_t i = 0; i < turn.message.tool_calls.size(); ++i)
    turn.message.tool_calls[i].id = "call_" + std::to_string(open.calls_before + i + 1);
  if (!turn.message.tool_calls.empty() && generated.ended)
    turn.finish = agents::FinishReason::tool_calls;
  return turn;
}

Result<agents::Turn> Decoder::complete(const agents::TurnRequest& request) {
  const std::uint64_t id = TRY(submit(request));
  Progress progress;
  for (;;) {
    step(progress);
    for (Ended& each : progress.ended)
      if (each.first == id) return std::move(each.second);
  }
}

EngineStats Decoder::stats() const {
  Traffic traffic = forward_.traffic().totals();
  if (prompts_ != nullptr) traffic += prompts_->traffic().totals();
  return {scheduler_.stats(),
          cache_.stats(),
          grammar_->stats(),
          traffic,
          place_ == nullptr ? cuda::Residency::Stats() : place_->stats(),
          forward_.page_bytes(),
          forward_.backend().name()};
}

}  // namespace ambit::inference
