"""Lays a shop's own export of its orders beside what the journal holds of them, and names every difference."""
