# Sourced by ./check conformance cost: the incident desk worked twice, once with every turn at the planner's price, once by plan-and-execute,
# where the planner's model writes a short plan for each report and the cheap model carries it out. Both decode with the same weights, so
# what is bought is the same; the price tables are those of a large and a small model of one provider's list, a hundred to one. Compares
# what `ambit cost` says of both and how many tickets were opened. The plans are scripted: no model of
# ours can plan, and a plan that names the goal is the same for every report. Prints one line of JSON; goal: at least 80 % cheaper.
release_targets ambit registry-server
command -v python3 >/dev/null || install python3
python3 tests/conformance/cost/desk.py "$PWD/build/release/ambit"
