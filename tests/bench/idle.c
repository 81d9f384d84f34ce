/* The smallest static program: what a jail costs, not what the program costs. */
int main(void) { return 0; }
