"""Base against head: exact work first, then interleaved pairs; bisect on the same rule."""
