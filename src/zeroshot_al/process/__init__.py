"""How a stage runs: its start, its end, its memory and its workers; nothing of its results."""
