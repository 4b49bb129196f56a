"""The controller of `api.systemd.Unit`: a unit's state on a machine, the decision about it, and the drivers that act.

`render`, `validate`, `names` and `service` are pure; `drivers` reach the machine.
"""
