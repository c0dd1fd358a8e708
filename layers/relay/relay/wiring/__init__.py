"""Builds each function from its settings, when its handler is loaded: each of what it uses, and no more."""
