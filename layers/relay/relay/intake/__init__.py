"""Accepts events: validates, routes, puts each on the lanes of its destinations."""
