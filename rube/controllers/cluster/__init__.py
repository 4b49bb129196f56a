"""The cluster controllers: those that need no machine of their own, and the election of who runs them.

Clients like any other: every write has a precondition and carries the term of its leader as a fence.
"""
