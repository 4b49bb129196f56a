"""The entrance: what every call of every service passes before it is carried out, and after.

- `call`: a call, its caller and what is noted of it.
- `kinds`: the kinds of calls, and which call is of which.
- `limits`: the limits of callers. `fairness`: the turns of the calls of each kind, one caller after the other.
- `entrance`: wraps a service's methods.
"""

from __future__ import annotations
