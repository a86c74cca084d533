"""A suite for comparing environments: needs the subject and torch, nothing of nbbench."""
