# SPDX-License-Identifier: Apache-2.0
"""The length from which one mixer is faster than another: between measured points only, never beyond them.

Between two neighbouring measured lengths both times are taken to be straight lines in log-log, so the crossing
is where the log of their ratio, a straight line in log L, is zero. The crossover is the last crossing, after
which the mixer stays faster at every measured length. Its spread is the interval between the crossover of the
mixer's shortest repetitions with the rival's longest, and of its longest with the rival's shortest.
"""

import math

NEVER, ALWAYS, CROSSES, LEADS_THEN_LOSES, NO_DATA = "never", "always", "crosses", "loses", "no data"


def _crossings(points):
    """points: (L, t_mixer, t_rival) by L. (state, crossing or None, number of sign changes)"""
    if not points:
        return NO_DATA, None, 0
    lead = [math.log(rival / mine) for _, mine, rival in points]
    changes = sum((a > 0) != (b > 0) for a, b in zip(lead, lead[1:]))
    if lead[-1] <= 0:
        return (NEVER if changes == 0 else LEADS_THEN_LOSES), None, changes
    first = len(lead) - 1
    while first > 0 and lead[first - 1] > 0:
        first -= 1
    if first == 0:
        return ALWAYS, None, 0
    a, b = lead[first - 1], lead[first]
    x0, x1 = math.log(points[first - 1][0]), math.log(points[first][0])
    return CROSSES, math.exp(x0 + (x1 - x0) * -a / (b - a)), changes


def crossover(mixer_rows, rival_rows):
    """The crossover of two lists of rows (fields L, ms, spread_ms) as a dict:

    state     'crosses', 'always' (faster at every measured length), 'never', 'loses' (faster somewhere, but not at
              the longest), 'no data' (no common length)
    L         the crossover; None unless state is 'crosses'
    low, high its spread; None where that end has no crossing between measured points
    first, last   the measured lengths in common
    changes   how often the lead changed; above 1 the order is not settled by one length
    """
    rival = {r["L"]: r for r in rival_rows}
    common = sorted(((r["L"], r, rival[r["L"]]) for r in mixer_rows if r["L"] in rival), key=lambda c: c[0])

    def curve(mine, theirs):
        return _crossings([(n, mine(a), theirs(b)) for n, a, b in common])

    def middle(r):
        return r["ms"]

    def shortest(r):
        return r["spread_ms"][0]

    def longest(r):
        return r["spread_ms"][1]

    state, at, changes = curve(middle, middle)
    out = {
        "state": state,
        "L": at,
        "low": None,
        "high": None,
        "changes": changes,
        "first": common[0][0] if common else None,
        "last": common[-1][0] if common else None,
    }
    if state == CROSSES:
        out["low"] = curve(shortest, longest)[1]
        out["high"] = curve(longest, shortest)[1]
    return out


def describe(c):
    """A crossover as (what stands in large letters, the line below)."""
    if c["state"] == NO_DATA:
        return "not measured", "no length was measured for both"
    span = f"{c['first']:,} to {c['last']:,}"
    if c["state"] == CROSSES:
        low = f"{c['low']:,.0f}" if c["low"] is not None else f"below {c['first']:,}"
        high = f"{c['high']:,.0f}" if c["high"] is not None else f"above {c['last']:,}"
        note = f"spread {low} to {high}"
        if c["changes"] > 1:
            note += f"; the lead changes {c['changes']} times, this is the last"
        return f"L = {c['L']:,.0f}", note
    if c["state"] == ALWAYS:
        return "none measured", f"faster at every measured length, {span}"
    if c["state"] == LEADS_THEN_LOSES:
        return "none measured", f"faster in between, slower at the longest; {span}"
    return "none measured", f"slower at every measured length, {span}"
