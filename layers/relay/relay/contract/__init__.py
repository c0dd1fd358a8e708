"""What a customer event is: the public contract, and how its text is read."""
