"""The controller contract (State to Decision), its runtime, the drivers' port and the built-in controllers."""
