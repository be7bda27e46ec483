"""How history comes in: order lines of any size, sorted out of memory, as the events that would have been."""
