"""Pages of Python packages for programs of one's own, which mkdocstrings fills from docstrings."""

from __future__ import annotations

from docs.generator.page import Page

# By package its modules that are shown; the empty name is the package itself.
_PACKAGES = {
    "rube.api": ("errors", "keys", "types", "selectors", "textproto"),
    "rube.host": ("",),
    "rube.transport": ("",),
    "rube.client": ("",),
    "rube.controllers": ("contract", "driver", "config"),
    "rube.store": ("",),
    "rube.group": ("",),
    "rube.raft": ("",),
    "rube.units": ("node_controller",),
    "rube.rubelet": ("",),
    "rube.sim.world": ("", "kernel", "network", "disk"),
    "rube.sim": ("", "cluster.cluster", "cluster.storage", "scenario", "judges"),
}


def pages() -> list[Page]:
    """One page a package, in the order in which they stand on each other."""
    return [Page(f"reference/python/{name}.md", _page(name, modules)) for name, modules in _PACKAGES.items()]


def _page(package: str, modules: tuple[str, ...]) -> str:
    shown = [f"::: {package}.{module}".rstrip(".") for module in modules]
    return f"# {package}\n\n" + "\n\n".join(shown) + "\n"
