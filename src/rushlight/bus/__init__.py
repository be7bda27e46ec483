"""How events travel: one Redis Stream a partition, and pub/sub for whoever listens now. Disposable by design."""
