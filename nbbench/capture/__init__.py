"""Guarded runs and their evidence folders."""
