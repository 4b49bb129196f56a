"""The controller of `api.systemd.Unit`: what a unit is on a machine, what to do about it, and the drivers that do it.

`render`, `validate`, `names` and `service` are pure; `drivers` reach the machine.
"""
