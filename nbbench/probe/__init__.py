"""What runs inside a benchmark process: traffic, resources, ceilings, image fingerprints.

Imports nothing else of nbbench; modules that need torch import it when they are imported.
"""
