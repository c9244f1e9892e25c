#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""warm.py MIB -- touch that much memory and give it back.

In a virtual machine whose host takes free memory back, the first touch of a page can cost more than
moving it does; who comes first then pays for all. After this the memory of both is there.
"""
import mmap
import sys

size = int(sys.argv[1]) << 20
memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
memory.madvise(mmap.MADV_HUGEPAGE)
for offset in range(0, size, 4096):
    memory[offset] = 1
