# Stands for the real thing: the jail of this example has no way out.
echo "restarted: $1 in $2"
