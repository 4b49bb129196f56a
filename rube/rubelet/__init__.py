"""The daemon of every node: its own copy of what it manages, and the controllers that make it true."""
