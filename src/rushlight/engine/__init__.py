"""What keeps it true: one owner a partition, one transaction a batch."""
