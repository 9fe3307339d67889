# SPDX-License-Identifier: Apache-2.0
"""What the page says of whole models: tokens/s of the encoders beside Hugging Face's, embeddings, goals, every row."""

from . import goals, names, plots, units
from .results import finish
from .tables import esc, table

CURVE = "encode"  # the variant that is measured over L
PEER_STYLE = {"colour": "rival", "marker": "s", "dash": names.DASHES[1]}


def peer_rows(results):
    """Hugging Face's BERT-base as rows: the samples of all pairs of a length."""
    found = {}
    for p in goals.model_pairs(results):
        if p["name"].split("/")[1] == CURVE:
            samples = p.get("peer_samples_ms") or [p["peer_ms"]]
            row = found.setdefault(p["L"], {"L": p["L"], "samples_ms": []})
            row["samples_ms"] = row["samples_ms"] + samples
    return [finish(found[n]) for n in sorted(found)]


def _rates(r):
    return r["L"], r["tokens/s"], *(r["L"] / t * 1e3 for t in reversed(r["spread_ms"])), r


def series(results, rows, threads):
    """Curves for plots.lines of the encoders on that many threads; on one with Hugging Face's beside them."""
    out = []
    for model in names.MODELS:
        points = [r for r in rows if (r["mixer"], r["variant"], r["threads"]) == (model, CURVE, threads)]
        style = names.styles([(model, CURVE)])[model, CURVE]
        out.append((names.title(model, CURVE), style, [_rates(r) for r in sorted(points, key=lambda r: r["L"])]))
    if threads == 1:
        out.append(("BERT-base, Hugging Face", PEER_STYLE, [_rates(r) for r in peer_rows(results)]))
    return out


def _sentences(rows):
    return "".join(
        f'<p>{esc(names.title(r["mixer"], r["variant"]))}: a sentence of {r["L"]} tokens in <b>{units.ms(r["ms"])}</b>.</p>'
        for r in rows
    )


def _table(rows):
    head = ["model", "threads", "L", "time", "spread", "tokens/s", "GFLOP/s", "workspace", "tensors"]
    return table(
        head,
        [
            [
                names.title(r["mixer"], r["variant"]),
                r["threads"],
                f"{r['L']:,}",
                units.ms(r["ms"]),
                " to ".join(units.ms(t) for t in r["spread_ms"]),
                units.short(r["tokens/s"]),
                f"{r['GFLOP/s']:.1f}" if r["GFLOP/s"] else "–",
                units.size(r["workspace"]),
                units.size(r["tensors"]),
            ]
            for r in rows
        ],
    )


def section(page):
    """page: a Page; its tabs, and what a point says under the pointer."""
    results = page.results
    rows = sorted(
        (r for r in results.rows.values() if r["mixer"] in names.MODELS),
        key=lambda r: (list(names.MODELS).index(r["mixer"]), r["threads"], r["L"]),
    )
    if not rows:
        return ""

    def draw(key, which, lane):
        svg = plots.lines(
            key,
            series(results, rows, lane[1]),
            "tokens per second",
            page.tip,
            label=f"Tokens per second of whole models against sequence length, {page.view_title(which, lane)}",
        )
        embeddings = [r for r in rows if r["variant"] != CURVE and r["threads"] == lane[1]]
        if svg is None and not embeddings:
            return None
        return f'<div class="card">{svg or ""}{_sentences(embeddings)}</div>'

    lanes = sorted({page.lane(r) for r in rows}, key=page.lane_order)
    found = ""
    if goals.model_pairs(results):
        found = f'<div class="card"><h3>Goals</h3>{table(goals.HEAD, [g.cells() for g in goals.model_goals(results)], left=5)}</div>'
    return (
        '<h2>Whole models</h2><p class="soft">Random weights, batch 1: encoders without pooler or head; an embedding is '
        "the mean of the rows, normalised.</p>"
        f'{page.panels("models", [("forward", lane) for lane in lanes], draw)}{found}'
        f'<details><summary>As a table</summary><div class="card">{_table(rows)}</div></details>'
    )
