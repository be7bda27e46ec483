"""The reference order service: placing an order touches MongoDB and nothing else, however Redis fares."""
