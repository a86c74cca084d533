"""Exact work of two commits compared: by line, by function, against ceilings."""
