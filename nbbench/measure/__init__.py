"""Measuring processes from outside: the warm server, the asv environment, machine facts, pairs."""
