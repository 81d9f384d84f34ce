# Keeps the proposal (its JSON comes on standard input) beside the ticket.
cat > "$1" && echo "remedy: noted"
