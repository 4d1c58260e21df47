"""What a policy server and its clients do with a connection, a queue and a clock."""
