"""Ways of continuing a chunk, one paper per file, training pair and inference side by side."""
