"""From what a request says of its circumstances to what the journal keeps of them."""
