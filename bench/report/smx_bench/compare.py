# SPDX-License-Identifier: Apache-2.0
"""Two runs side by side. A change counts when the repetitions of the two runs do not overlap."""

FASTER, SLOWER, WITHIN, UNKNOWN = "faster", "slower", "within the spread", "one sample"


def verdict(new, old):
    """Compares two lists of samples in ms."""
    if len(new) < 2 or len(old) < 2:
        return UNKNOWN
    if max(new) < min(old):
        return FASTER
    if min(new) > max(old):
        return SLOWER
    return WITHIN


def compare(new, old):
    """(changes, only_new, only_old): changes as dicts of name, L, old_ms, new_ms, ratio (old / new: above 1 the
    new run is faster) and verdict; then the names that only one of the two runs has."""
    changes = []
    for name, row in new.rows.items():
        before = old.rows.get(name)
        if before is not None:
            changes.append(
                {
                    "name": name,
                    "L": row["L"],
                    "old_ms": before["ms"],
                    "new_ms": row["ms"],
                    "ratio": before["ms"] / row["ms"],
                    "verdict": verdict(row["samples_ms"], before["samples_ms"]),
                }
            )
    only_new = sorted(set(new.rows) - set(old.rows))
    only_old = sorted(set(old.rows) - set(new.rows))
    return changes, only_new, only_old
