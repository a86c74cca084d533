"""For all tests."""

import signal

from hypothesis import settings

# Wall-clock decides no test: a busy machine is slow, not wrong.
settings.register_profile("nbbench", deadline=None)
settings.load_profile("nbbench")

# A shell has its background jobs ignore interrupts, and so would every command that a test interrupts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
