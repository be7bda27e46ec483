"""How figures are watched: the Socket.IO gateway with its snapshots and deltas, and the board that draws them."""
