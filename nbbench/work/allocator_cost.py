"""What the default malloc does with large blocks, and the remedy."""

from __future__ import annotations

# glibc maps each block above a threshold that adapts to what is freed, up to this size on 64-bit
# machines (DEFAULT_MMAP_THRESHOLD_MAX in malloc.c): a larger block is mapped, faulted in page by
# page and unmapped every time.
MMAP_CEILING_BYTES = 32 * 2**20
MALLOC_REMEDY = "GLIBC_TUNABLES=glibc.malloc.mmap_threshold=4294967296:glibc.malloc.trim_threshold=8589934592"
