"""The node's own word on what units may do there: rules that compare a Unit with the node's policy, the gate that holds
the policy in effect, and a driver that starts nothing past it.

The rules are pure; the machine's users come from `Accounts`. Files are read by the composition root.
"""

from __future__ import annotations

from rube.units.policy.accounts import Accounts, MachineUser
from rube.units.policy.driver import GuardedDriver
from rube.units.policy.gate import PolicyGate
from rube.units.policy.rules import refusals

__all__ = ["Accounts", "GuardedDriver", "MachineUser", "PolicyGate", "refusals"]
