"""Profiles of subjects that come with nbbench."""
