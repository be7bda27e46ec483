"""How events come in: keys, decoders and limits at the door, and a write-ahead log that is on disk before a 2xx."""
