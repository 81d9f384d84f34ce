"""gpu_transformers.py SHAPE CASE: how fast transformers runs a model of this shape with random weights in BF16 on the GPU, compiled
by torch.compile, with a cache of fixed size: decoding of 1 and of 32 sequences and a prompt of 4,096 tokens. A JSON line a figure,
named CASE and what it is; see gpu.sh. Where torch or transformers is not there, or has no GPU, one line says so, and it ends well."""
import json
import statistics
import sys
import time

shape, case = sys.argv[1:]


def tell(**figure):
    print(json.dumps({"bench": "gpu", "peer": "transformers", **figure}, separators=(",", ":")), flush=True)


try:
    import torch
    import transformers
    from transformers import AutoModelForCausalLM, LlamaConfig, Qwen3Config
except ImportError as error:
    tell(case=case, skipped=f"{error}")
    sys.exit(0)
if not torch.cuda.is_available():
    tell(case=case, skipped="torch has no GPU here")
    sys.exit(0)

SHAPES = {
    "llama-3.2-1b": (LlamaConfig, 16, 2048, 32, 8, 64, 8192, 128256, True),
    "llama-3.1-8b": (LlamaConfig, 32, 4096, 32, 8, 128, 14336, 128256, False),
    "qwen3-0.6b": (Qwen3Config, 28, 1024, 16, 8, 128, 3072, 151936, True),
    "qwen3-1.7b": (Qwen3Config, 28, 2048, 16, 8, 128, 6144, 151936, True),
}
if shape not in SHAPES:
    tell(case=case, skipped=f"no shape {shape}")
    sys.exit(0)
make, layers, width, heads, kv_heads, head_width, hidden, vocabulary, tied = SHAPES[shape]
config = make(num_hidden_layers=layers, hidden_size=width, num_attention_heads=heads, num_key_value_heads=kv_heads,
              head_dim=head_width, intermediate_size=hidden, vocab_size=vocabulary, tie_word_embeddings=tied,
              max_position_embeddings=8192)
torch.manual_seed(1)
torch.set_default_device("cuda")
model = AutoModelForCausalLM.from_config(config, torch_dtype=torch.bfloat16).eval()
plain = model.forward


def seconds_of(work, repeats=3):
    took = []
    for _ in range(repeats):
        torch.cuda.synchronize()
        began = time.perf_counter()
        work()
        torch.cuda.synchronize()
        took.append(time.perf_counter() - began)
    return statistics.median(took)


@torch.inference_mode()
def decode(batch, tokens=192, before=64):
    prompt = torch.randint(0, vocabulary, (batch, 32))

    def say(count):
        model.generate(prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=count, min_new_tokens=count, do_sample=False,
                       cache_implementation="static", pad_token_id=0)

    for _ in range(3):  # compiles, and records its graphs
        say(before + tokens)
    say(before)
    # The prompt and what generate() does once are in both.
    return batch * tokens / (seconds_of(lambda: say(before + tokens)) - seconds_of(lambda: say(before)))


@torch.inference_mode()
def prefill(tokens=4096):
    prompt = torch.randint(0, vocabulary, (1, tokens))
    for _ in range(2):
        model(prompt, use_cache=True, logits_to_keep=1)
    return tokens / seconds_of(lambda: model(prompt, use_cache=True, logits_to_keep=1))


versions = {"torch": torch.__version__, "transformers": transformers.__version__}
for what, compiles, measure in (("decode, batch 1", True, lambda: decode(1)), ("decode, batch 32", True, lambda: decode(32)),
                                ("prefill, not compiled", False, prefill)):
    torch._dynamo.reset()
    model.forward = torch.compile(plain, mode="reduce-overhead", fullgraph=True) if compiles else plain
    try:
        tell(case=f"{case}, {what}", unit="tokensPerSecond", theirs=measure(), **versions)
    except Exception as error:  # of a peer that does not load what it is given: said, and no failure of ours
        tell(case=f"{case}, {what}", skipped=f"{type(error).__name__}: {error}"[:300], **versions)
