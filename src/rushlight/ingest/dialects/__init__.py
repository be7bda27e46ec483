"""The dialects: one file each says how a request becomes reports, and how its sender expects to be answered."""
