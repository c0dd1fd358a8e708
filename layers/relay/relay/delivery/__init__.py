"""Takes one lane's events to the provider, a batch at a time."""
