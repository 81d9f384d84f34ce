# Sourced by ./check conformance llama: our engine beside llama.cpp (LLAMA_CPP names the folder of its binaries) on the same
# files: probabilities for every architecture and type, tokens of the public vocabularies, perplexity. A line of JSON a suite.
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
build/release/tests/conformance/llama_cases "$LLAMA_CPP" build/conformance-llama examples/model/ambit-desk.gguf \
  build/llama-text.txt ${vocabularies:+"$vocabularies"}
