"""Measurements of throughput as JSON files: to keep, to compare, and to find out that they are stale."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from refplay.analysis.throughput import Comparison, Measured, Timing, doublings, measured, saturation
from refplay.errors import InputError

FORMAT = "refplay-throughput-1"


class Stored(NamedTuple):
    """A measurement that was read back, and when it was made."""

    measured: Measured
    created: str  # ISO 8601, UTC


def check_writable(path: Path, option: str) -> None:
    """Raise InputError where a file could not be written; what is there stays as it is."""
    if path.is_dir():
        raise InputError(f"{option} {path} is a folder; name a file")
    if not path.parent.is_dir():
        raise InputError(f"{option} {path}: there is no folder {path.parent}; make it first")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise InputError(f"{option} {path}: no permission to write there; name another file")


def write_measured(found: Measured, path: str | Path) -> None:
    """Write a measurement, with the conclusions drawn from it for whoever reads the file without refplay."""
    limit = saturation(found.ours)._asdict() if measured(found.ours) else None
    content = {
        "format": FORMAT,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "key": found.key,
        "budget": found.budget,
        "ended": found.ended,
        "busy": found.busy,
        "sizes": [_plain(timing) for timing in found.ours],
        "peers": {peer: [_plain(timing) for timing in timings] for peer, timings in found.peers.items()},
        "accumulation": _beside(found.accumulation),
        "prefetch": _beside(found.prefetch),
        "conclusions": {"largest": limit,
                        "doublings": [{**each._asdict(), "verdict": each.verdict} for each in doublings(found.ours)]},
    }
    try:
        Path(path).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}; name another file") from None


def read_measured(path: str | Path) -> Stored:
    """Read what `write_measured` wrote; InputError where the file is missing, damaged or something else."""
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}; `refplay throughput --json {path}` makes it") from None
    except ValueError as error:
        raise InputError(f"{path} is no JSON ({error}); give a file that `refplay throughput --json` wrote") from None
    if not isinstance(content, Mapping) or content.get("format") != FORMAT:
        raise InputError(f"{path} is no measurement of throughput; give a file that `refplay throughput --json` wrote")
    try:
        return Stored(_measured(content), str(content["created"]))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{path} is damaged ({type(error).__name__}: {error}); measure again") from None


def _plain(timing: Timing) -> dict[str, Any]:
    row = timing._asdict()
    if not timing.failed:  # what readers without refplay look for first
        row["examples_per_second"] = timing.throughput
        row["waiting_share"] = timing.waiting_share
        row["device_seconds_per_example"] = timing.seconds / timing.batch_size
    return row


def _beside(pair: Comparison | None) -> dict[str, Any] | None:
    if pair is None:
        return None
    gain, lowest, highest = pair.gains
    return {"what": pair.what, "plain": _plain(pair.plain), "other": _plain(pair.other), "gain": gain,
            "lowest": lowest, "highest": highest}


def _measured(content: Mapping[str, Any]) -> Measured:
    pairs = [pair and Comparison(str(pair["what"]), _timing(pair["plain"]), _timing(pair["other"]))
             for pair in (content["accumulation"], content["prefetch"])]
    return Measured(
        key={str(name): str(value) for name, value in content["key"].items()},
        budget=int(content["budget"]),
        ours=tuple(_timing(row) for row in content["sizes"]),
        peers={str(peer): tuple(_timing(row) for row in rows) for peer, rows in content["peers"].items()},
        accumulation=pairs[0], prefetch=pairs[1], ended=str(content["ended"]), busy=float(content["busy"]),
    )


def _timing(row: Mapping[str, Any]) -> Timing:
    timing = Timing(int(row["batch_size"]), float(row["seconds"]), float(row["lower"]), float(row["upper"]),
                    tuple(float(each) for each in row["rounds"]), float(row["waiting"]), int(row["steps"]),
                    int(row["memory"]), str(row["failed"]))
    if not timing.failed and not (timing.batch_size >= 1 and timing.seconds > 0 and min(timing.rounds) > 0):
        raise ValueError(f"batch size {timing.batch_size} has no time")
    return timing
