"""The cluster controllers, which need no machine of their own, and the election of the process that runs them.

They are clients like any other: every write has a precondition and carries the term of its leader as a fence.
"""
