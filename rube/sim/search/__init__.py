"""One scenario under many seeds (`sweep`), under two settings (`compare`), the few faults of it that make it fail
(`shrink`), and the least of the rest (`reduce`)."""
