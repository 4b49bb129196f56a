"""A service as systemd runs it, pure: command lines, exit status, restart policy and the state machine.

Nothing here does I/O, knows a clock or imports more than a little of the standard library: the supervisor's shim, one
small process for each unit, runs it on real processes, and the simulated service manager on simulated ones.
"""
