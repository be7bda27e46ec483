"""How figures are read: one answer is one snapshot, summed over the partitions, and says how complete it is."""
