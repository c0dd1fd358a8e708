"""Customer event relay: every customer event to its marketing providers, once, on time, at the provider's pace."""
