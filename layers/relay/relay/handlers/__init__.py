"""A call of a function, in the domain's words, and the answer back."""
