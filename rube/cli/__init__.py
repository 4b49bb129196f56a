"""The composition roots: the commands rube and rubelet."""
