"""The simulated world: the ports' simulated adapters, scenarios, faults, checkers and reports."""
