"""What events mean: pure folds from one partition's journal to figures."""
