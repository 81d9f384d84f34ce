# Sourced by ./check conformance chat_templates: conversations through public chat templates, rendered by ours and by Jinja itself, set up
# as the field's libraries set it up. CHAT_TEMPLATES names a folder of .jinja files (llama.cpp's source has one: models/templates); the
# templates are their authors', so none is kept here, and without the folder only our own are compared.
release_targets render_templates
install python3-jinja2
python3 tests/conformance/chat_templates/judge.py "$PWD/build/release/tests/conformance/render_templates" \
  tests/data/fuzz/chat_template "${CHAT_TEMPLATES:-}"
