"""For all tests."""

from hypothesis import settings

# Wall-clock decides no test: a busy machine is slow, not wrong.
settings.register_profile("nbbench", deadline=None)
settings.load_profile("nbbench")
