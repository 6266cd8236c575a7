"""CPU-seconds of this process and the children it waited for; standard library only, so that any Python can use it."""

from __future__ import annotations

import resource


def read_cpu() -> float:
    """User and system time so far, of all threads."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)
