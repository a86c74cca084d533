"""The steps that commands and asv's publisher share: import, commit list, detect, flags, page."""
