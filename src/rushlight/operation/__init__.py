"""How it goes: health, metrics, and what worker processes report of themselves."""
