"""What can happen: the envelope, the catalogue of typed events, money and ids. Pure."""
