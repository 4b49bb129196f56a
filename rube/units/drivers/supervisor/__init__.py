"""Runs units on machines without systemd: one small process, the shim, for each unit that is up.

The shim (`shim.py`) is the service's parent and subreaper, restarts it as its definition says, outlives the rubelet
and writes what happens to a file. The driver writes definitions and requests to files and reads those. A unit has one
directory, named after it:

    unit.json      the definition and the last action carried out    written by the driver
    request.json   what the shim is asked for                        written by the driver
    state.json     what the service does                             written by the shim
    lock           held by the shim as long as it lives
    log, log.1, …  what the service prints, bounded (`logs` reads it)
    shim.log       what the shim itself has to complain about

The contents of these files are typed (`records`). They are a record: whether a unit has a shim, locks and processes say
(`presence`), and a shim whose files vanish writes them again.

Under an init that kills a daemon's whole group (systemd's KillMode=control-group, which is its default) the shims
would be killed with the rubelet: give it KillMode=process there, or use the D-Bus driver.
"""

from __future__ import annotations

from rube.units.drivers.supervisor.driver import SupervisorDriver

__all__ = ["SupervisorDriver"]
