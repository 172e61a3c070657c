"""How much memory there is: what does not fit is refused before it is begun."""

from __future__ import annotations

from pathlib import Path

#: Share of the free memory that one thing may take.
SAFE = 0.9


def free_memory() -> int | None:
    """Bytes that programs can have without swapping; None where the system does not say."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration, ValueError, IndexError):
        return None


def in_units(size: float) -> str:
    """Bytes as people read them."""
    return f"{size / 1e9:.2f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"


def excess(size: float) -> str | None:
    """What to say of what takes so many bytes; None if they are free, or the system does not say."""
    free = free_memory()
    if free is None or size <= SAFE * free:
        return None
    return f"takes {in_units(size)} of memory, and {in_units(free)} are free"
