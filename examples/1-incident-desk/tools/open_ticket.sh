# Writes the ticket (its JSON comes on standard input) and says its number.
cat > "$1" && echo "ticket: T-${2#INC-}"
