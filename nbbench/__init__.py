"""nbbench: an asv-based benchmark harness with a regression database."""

__version__ = "0.1.0"
