# SPDX-License-Identifier: Apache-2.0
"""Numbers as people read them."""


def short(value):
    """1234567 as '1.23 M'; three significant digits."""
    if value is None:
        return "–"
    for scale, suffix in ((1e12, " T"), (1e9, " G"), (1e6, " M"), (1e3, " k")):
        if abs(value) >= scale:
            return f"{value / scale:.3g}{suffix}"
    return f"{value:.3g}"


def tick(value):
    for scale, suffix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= scale:
            return f"{value / scale:g}{suffix}"
    return f"{value:g}"


def power(count):
    """A power of two as '512', '64K', '1M'."""
    for scale, suffix in ((2**20, "M"), (2**10, "K")):
        if count >= scale:
            return f"{count / scale:g}{suffix}"
    return f"{count:g}"


def size(count):
    """Bytes with a binary unit."""
    if count is None:
        return "–"
    for scale, unit in ((2**40, "TiB"), (2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
        if count >= scale:
            return f"{count / scale:.3g} {unit}"
    return f"{count:.0f} B"


def ms(value):
    if value is None:
        return "–"
    if value >= 1000:
        return f"{value:,.0f} ms"
    if value >= 0.0995:
        return f"{value:.3g} ms"
    return f"{value * 1e3:.3g} µs"


def times(ratio):
    return f"{ratio:.2f}×" if ratio < 9.995 else f"{ratio:.1f}×"
