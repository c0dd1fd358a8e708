"""``make demo``: the files of ``events/`` put in, each its own way, and what became of them, on a stack of its own."""
