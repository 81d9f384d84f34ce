# Sourced by ./check conformance llama: our engine beside llama.cpp (LLAMA_CPP names the folder of its binaries) on the same
# files: probabilities for every architecture and type, tokens of the public vocabularies, perplexity; and the probabilities beside
# ik_llama.cpp (IK_LLAMA_CPP), which knows other families. A line of JSON a suite. AMBIT_LLAMA_TYPES chooses types (a comma list).
[ -n "${LLAMA_CPP:-}" ] && [ -x "$LLAMA_CPP/llama-perplexity" ] || {
  echo "skipped: llama.cpp (LLAMA_CPP does not name the folder of its binaries)" >&2
  echo '{"suite":"llama","passed":0,"failed":0,"skipped":1}'
  exit 0
}
release_targets llama_cases
vocabularies=../shared/data/tokenizer
[ -d "$vocabularies" ] || {
  echo "skipped: the public vocabularies ($vocabularies is not there)" >&2
  vocabularies=
}
# What the model was trained to talk about, over and over, is not in the repository: any text does for a comparison.
cat README.md ARCHITECTURE.md >build/llama-text.txt
code=0
build/release/tests/conformance/llama_cases llama.cpp "$LLAMA_CPP" build/conformance-llama examples/model/ambit-desk.gguf \
  build/llama-text.txt ${vocabularies:+"$vocabularies"} || code=1
if [ -n "${IK_LLAMA_CPP:-}" ] && [ -x "$IK_LLAMA_CPP/llama-perplexity" ]; then
  build/release/tests/conformance/llama_cases ik_llama.cpp "$IK_LLAMA_CPP" build/conformance-llama || code=1
else
  echo "skipped: ik_llama.cpp (IK_LLAMA_CPP does not name the folder of its binaries)" >&2
  echo '{"suite":"logits beside ik_llama.cpp","passed":0,"failed":0,"skipped":1}'
fi
exit "$code"
