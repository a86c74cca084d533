"""Warm benchmark processes: fork what is measured from a server that has the imports done."""
