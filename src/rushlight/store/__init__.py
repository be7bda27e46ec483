"""Where events and figures stay: MongoDB, always a replica set, written with ``w: majority, j: true``."""
