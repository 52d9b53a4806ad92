"""Counts of a process's inferences, by the version that answered."""

import time
from dataclasses import dataclass
from typing import Any, Final

MAX_VERSIONS: Final = 64


@dataclass(slots=True)
class _Counts:
    rows: int = 0
    success: int = 0
    success_ns: int = 0
    fail: int = 0
    fail_ns: int = 0
    last_ms: int = 0


class InferenceStatistics:
    """What Triton's statistics extension tells, of the latest versions that served."""

    def __init__(self) -> None:
        """Start with none."""
        self._by_version: dict[int, _Counts] = {}

    @property
    def versions(self) -> set[int]:
        """The versions that were counted."""
        return set(self._by_version)

    def succeed(self, version: int, rows: int, nanoseconds: int) -> None:
        """Count an inference that was answered."""
        counts = self._of(version)
        counts.rows += rows
        counts.success += 1
        counts.success_ns += nanoseconds
        counts.last_ms = time.time_ns() // 1_000_000

    def fail(self, version: int, nanoseconds: int) -> None:
        """Count an inference that was refused."""
        counts = self._of(version)
        counts.fail += 1
        counts.fail_ns += nanoseconds

    def describe(self, version: int) -> dict[str, Any]:
        """Return one version's counts in Triton's words; queues there are none."""
        counts = self._by_version.get(version, _Counts())
        success = {"count": counts.success, "ns": counts.success_ns}
        nothing = {"count": 0, "ns": 0}
        return {
            "version": str(version),
            "last_inference": counts.last_ms,
            "inference_count": counts.rows,
            "execution_count": counts.success,
            "inference_stats": {
                "success": success,
                "fail": {"count": counts.fail, "ns": counts.fail_ns},
                "queue": {"count": counts.success, "ns": 0},
                "compute_input": nothing,
                "compute_infer": success,
                "compute_output": nothing,
                "cache_hit": nothing,
                "cache_miss": nothing,
            },
            "batch_stats": [],
            "memory_usage": [],
        }

    def _of(self, version: int) -> _Counts:
        """Return a version's counts; those that were asked longest ago make room."""
        counts = self._by_version.pop(version, None) or _Counts()
        if len(self._by_version) >= MAX_VERSIONS:
            del self._by_version[next(iter(self._by_version))]
        self._by_version[version] = counts
        return counts
