"""Speed and cost, measured on one machine."""
