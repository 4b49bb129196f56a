"""The shim's entry point, run as a script: `python -I -S launch.py DIRECTORY`.

There is a shim for each unit, so it must start fast and stay small. Rube's packages import protobuf and more in their
`__init__`; here empty packages stand in for those, and the few modules that the shim needs load from where they are.
"""

from __future__ import annotations

import os
import sys

_HERE = os.path.dirname(os.path.abspath(__file__))
_PACKAGE = "rube.units.drivers.supervisor"


def _stand_in() -> None:
    names = _PACKAGE.split(".")
    directory = _HERE
    for depth in range(len(names), 0, -1):
        package = type(sys)(".".join(names[:depth]))
        package.__path__ = [directory]
        sys.modules[package.__name__] = package
        directory = os.path.dirname(directory)


if __name__ == "__main__":
    _stand_in()
    from rube.units.drivers.supervisor.detach import supervise

    supervise(sys.argv[1])
