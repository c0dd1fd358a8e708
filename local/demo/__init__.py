"""``make demo``: the files of ``events/`` through their doors, and what became of them, on a stack of its own."""
