"""A machine's units, simulated: the service manager of a host with the driver that reaches it, and one unit of it.

The state machine of a unit, its commands and its exit codes are the shipped ones (`rube.units.service`); only the
processes are simulated.
"""
