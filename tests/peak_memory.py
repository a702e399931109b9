"""The largest memory of a process. `ru_maxrss` is no measure of it: on Linux a child begins with that of its parent."""

import re
import resource
import sys
from pathlib import Path


def peak_memory() -> int:
    """Bytes that were resident at most since this process began to run its program."""
    status = Path("/proc/self/status")
    if status.exists():
        found = re.search(r"^VmHWM:\s*(\d+) kB$", status.read_text(), re.MULTILINE)
        assert found is not None
        return int(found[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
