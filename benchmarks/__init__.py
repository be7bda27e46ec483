"""What Rushlight costs and serves, measured beside its peers on the same machine in the same minutes."""
