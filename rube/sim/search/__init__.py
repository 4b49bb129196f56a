"""One scenario under many seeds (`sweep`), under two settings (`compare`), and the few faults of it that make it fail
(`shrink`)."""
