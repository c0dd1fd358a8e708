"""A provider called pigeon as ``make provider`` writes it: complete, and guessed. Each guess is a BLANK to answer."""
