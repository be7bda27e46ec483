"""Names that a relay's documents have."""

from __future__ import annotations

# In ``logs``: ``relay:IDENTITY`` stands for a shop's own database, whoever moves its outboxes at the moment.
RELAY = "relay:"
