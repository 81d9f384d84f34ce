#pragma once

// From a conversation to prompt tokens, by the chat template inside the model file. What people and
// tools said is guarded: it can never become a control token (see Tokenizer::guard).

#include "agents/ports.h"
#include "async/result.h"
#include "inference/chat_words.h"
#include "inference/template.h"
#include "inference/tokenizer.h"

#include <string>
#include <string_view>
#include <vector>

namespace ambit::inference {

class Chat {
 public:
  // Borrows the tokenizer. A file without a template gets ChatML when its vocabulary has
  // <|im_start|>.
  static Result<Chat> load(const Gguf& file, const Tokenizer& tokenizer);
  static Result<Chat> parse(std::string_view source, const Tokenizer& tokenizer);

  [[nodiscard]] const ChatAbilities& abilities() const { return abilities_; }
  [[nodiscard]] Dialect dialect() const { return abilities_.dialect; }
  // What the template has no words for is said in ours (chat_words.h).
  [[nodiscard]] Result<std::string> render(const std::vector<agents::Message>& messages,
                                           const std::vector<agents::ToolSpec>* tools,
                                           bool add_generation_prompt = true) const;
  [[nodiscard]] Result<std::vector<TokenId>> prompt(
      const std::vector<agents::Message>& messages,
      const std::vector<agents::ToolSpec>* tools) const;

 private:
  explicit Chat(const Tokenizer& tokenizer) : tokenizer_(&tokenizer) {}
  [[nodiscard]] Result<std::string> write(const std::vector<agents::Message>& messages,
                                          const std::vector<agents::ToolSpec>* tools,
                                          bool add_generation_prompt) const;

  const Tokenizer* tokenizer_;
  Template template_;
  ChatAbilities abilities_;
};

}  // namespace ambit::inference
