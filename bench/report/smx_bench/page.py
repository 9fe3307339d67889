# SPDX-License-Identifier: Apache-2.0
"""The page: one HTML file, nothing to load. Charts are inline SVG; every value is on hover and in a table."""

import os

from . import compare, goals, gpu, models, names, plots, units
from .crossover import ALWAYS, CROSSES, NEVER, crossover, describe
from .tables import esc, table

PASSES = ("forward", "forward+backward", "step")
BUSY_CORES = 0.15  # cores that other programs may use before the page warns
HERE = os.path.dirname(os.path.abspath(__file__))


def _resource(name):
    with open(os.path.join(HERE, name), encoding="utf-8") as f:
        return f.read()


def _palette(colours):
    return " ".join(f"--{name}: {value};" for name, value in colours.items())


class Page:
    def __init__(self, results, against=None, against_name=""):
        self.results, self.against, self.against_name = results, against, against_name
        rows = results.rows.values()
        self.mixer_rows = [r for r in rows if r["mixer"] not in {*names.YARDSTICKS, *names.MODELS}]
        # One curve set a width: rows of another width (a peer pair's shape) are in the tables.
        widths = [r["D"] for r in self.mixer_rows if r["D"]]
        self.width = max(set(widths), key=widths.count) if widths else None
        self.curve_rows = [r for r in self.mixer_rows if self.has_curve(r)]
        self.keys = names.ordered((r["mixer"], r["variant"]) for r in self.curve_rows)
        self.style = names.styles(self.keys)
        # A lane is what a set of curves ran on: a backend and its threads.
        self.lanes = sorted({self.lane(r) for r in self.curve_rows}, key=self.lane_order)
        self.threads = sorted({threads for backend, threads in self.lanes if not gpu.is_gpu(backend)})

    def has_curve(self, r):
        if names.is_layout(r["variant"]):
            return False
        # On a GPU, SSD at its own width belongs to the picture: the goals hold it against attention.
        return r["D"] in (None, self.width) or (gpu.is_gpu(r["backend"]) and r["mixer"] == "ssd")

    @staticmethod
    def lane(r):
        return r["backend"], r["threads"]

    @staticmethod
    def lane_order(lane):
        backend, threads = lane
        return gpu.is_gpu(backend), "recipe" in backend, gpu.operands(backend) != "f32", backend, threads

    def title(self, mixer, variant):
        """With the width where it is not that of the page."""
        other = {r["D"] for r in self.curve_rows if (r["mixer"], r["variant"]) == (mixer, variant)}
        other -= {None, self.width}
        return names.title(mixer, variant) + (f", D = {min(other):,}" if other else "")

    # -- selections

    def curve(self, mixer, variant, which, lane):
        found = [
            r
            for r in self.curve_rows
            if (r["mixer"], r["variant"], r["pass"], self.lane(r)) == (mixer, variant, which, lane)
        ]
        return sorted(found, key=lambda r: r["L"])

    def rival(self, rival, mixer, variant, which, lane):
        """The rows of `rival` that this mixer is held against, and their variant."""
        choice = names.rival_variant(variant, {v for m, v in self.keys if m == rival}, mixer)
        return (self.curve(rival, choice, which, lane), choice) if choice else ([], None)

    def views(self):
        return [
            (which, lane)
            for lane in self.lanes
            for which in PASSES
            if any(r["pass"] == which and self.lane(r) == lane for r in self.curve_rows)
        ]

    def yardstick(self, lane):
        """The best measured rate of a large product in that lane, GFLOP/s."""
        backend, threads = lane
        if gpu.is_gpu(backend):
            return gpu.product_rate(self.results, backend)
        rates = [r["GFLOP/s"] for r in self.results.select(mixer="sgemm", threads=threads) if r["GFLOP/s"]]
        return max(rates, default=None)

    def view_title(self, which, lane):
        backend, threads = lane
        where = f"{threads} thread{'s' if threads > 1 else ''}"
        if gpu.is_gpu(backend):
            where = gpu.words(self.results.about["machine"], backend)
        elif any(gpu.is_gpu(b) for b, _ in self.lanes):
            where = f"{backend.upper()}, {where}"
        return f"{which.replace('+', ' + ')}, {where}"

    # -- pieces

    def tip(self, title, row):
        low, high = row["spread_ms"]
        lines = [
            f"{title}, L = {row['L']:,}",
            f"{units.short(row['tokens/s'])} tokens/s",
            f"{units.ms(row['ms'])} ({units.ms(low)} to {units.ms(high)}, {len(row['samples_ms'])} repetitions)",
        ]
        if row["GFLOP/s"]:
            lines.append(f"{row['GFLOP/s']:.1f} GFLOP/s")
        if row["workspace"] is not None:
            lines.append(f"workspace {units.size(row['workspace'])}, tensors {units.size(row['tensors'])}")
        return "\n".join(lines)

    def series(self, which, lane, value):
        """value(row) -> (y, low, high) or None."""
        out = []
        for key in self.keys:
            points = []
            for row in self.curve(*key, which, lane):
                y = value(row)
                if y is not None:
                    points.append((row["L"], *y, row))
            out.append((self.title(*key), self.style[key], points))
        return out

    def panels(self, prefix, views, draw):
        """Tabs over the views for which draw(key, which, lane) has something to show."""
        shown = []
        for which, lane in views:
            backend, threads = lane
            where = f"{threads}" if not gpu.is_gpu(backend) else f"-{backend}"
            key = f"{prefix}-{'b' if '+' in which else which[0]}{where}"
            body = draw(key, which, lane)
            if body:
                shown.append((key, self.view_title(which, lane), body))
        if not shown:
            return '<div class="card empty">Nothing was measured for this.</div>'
        tabs = ""
        if len(shown) > 1:
            buttons = "".join(
                f'<button type="button" role="tab" data-panel="p-{k}">{esc(t)}</button>' for k, t, _ in shown
            )
            tabs = f'<div class="tabs" role="tablist">{buttons}</div>'
        bodies = "".join(f'<div class="panel" role="tabpanel" id="p-{k}">{b}</div>' for k, _, b in shown)
        return tabs + bodies

    def answers(self, which, lane):
        groups = {}
        for key in sorted(self.keys, key=lambda k: k[0] == "dense"):  # the mixers before the baseline
            mine = self.curve(*key, which, lane)
            if key[0] == "attention" or not mine:
                continue
            theirs, choice = self.rival("attention", *key, which, lane)
            c = crossover(mine, theirs)
            span = f"{c['first'] or 0:,} to {c['last'] or 0:,}"
            value, note = {
                ALWAYS: (f"from {c['first'] or 0:,} on", f"no crossover, {span}"),
                NEVER: ("none measured", f"slower, {span}"),
            }.get(c["state"], describe(c))
            if c["state"] in (CROSSES, ALWAYS):
                at = {r["L"]: r for r in theirs}
                row = next(r for r in reversed(mine) if r["L"] in at)
                note += f" · {at[row['L']]['ms'] / row['ms']:.3g}× at {row['L']:,}"
            versus = "causal attention" if choice and names.is_causal(choice) else "full attention"
            groups.setdefault(versus, []).append(
                f'<li style="--at: var(--{self.style[key]["colour"]})"><div class="line"><span>{esc(self.title(*key))}</span>'
                f'<b>{esc(value)}</b></div><div class="note">{esc(note)}</div></li>'
            )
        if not groups:
            return '<p class="soft">No rival was measured.</p>'
        return "".join(
            f'<div class="versus">against {esc(versus)}</div><ul class="answers">{"".join(items)}</ul>'
            for versus, items in sorted(groups.items(), reverse=True)
        ) + (
            '<div class="note soft">× is its speed over that of attention, at the longest length measured for '
            "both.</div>"
        )

    def first_screen(self):
        def draw(key, which, lane):
            def value(r):
                return r["tokens/s"], *(r["tokens/s"] * r["ms"] / t for t in reversed(r["spread_ms"]))

            svg = plots.lines(
                key,
                self.series(which, lane, value),
                "tokens per second",
                self.tip,
                label=f"Tokens per second against sequence length, {self.view_title(which, lane)}",
                height=5.3,
            )
            if svg is None:
                return None
            return (
                f'<div class="first"><section class="card"><h3>How fast is each mixer as the sequence grows?</h3>{svg}'
                f'</section><section class="card"><h3>From which length does it beat softmax attention?</h3>'
                f"{self.answers(which, lane)}</section></div>"
            )

        return self.panels("speed", self.views(), draw)

    def memory(self):
        def draw(key, which, lane):
            def value(r):
                if r["workspace"] is None or r["tensors"] is None:
                    return None
                return (r["workspace"] + r["tensors"],) * 3

            svg = plots.lines(
                key,
                self.series(which, lane, value),
                "workspace + tensors, bytes",
                self.tip,
                yformat=_bytes_tick,
                label=f"Memory against sequence length, {self.view_title(which, lane)}",
                bytes_axis=True,
            )
            return svg and f'<div class="card">{svg}</div>'

        return self.panels("memory", self.views(), draw)

    def fraction(self):
        def draw(key, which, lane):
            best = self.yardstick(lane)
            if not best:
                return None

            def value(r):
                if not r["GFLOP/s"]:
                    return None
                return tuple(
                    r["flops"] / (t * 1e6) / best for t in (r["ms"], r["spread_ms"][1], r["spread_ms"][0])
                )

            svg = plots.lines(
                key,
                self.series(which, lane, value),
                "share of the sgemm rate" if not gpu.is_gpu(lane[0]) else "share of the GEMM rate",
                self.tip,
                log=False,
                yformat=lambda v: f"{v * 100:.0f} %",
                reference=1.0,
                label=f"Share of the measured rate of a matrix product, {self.view_title(which, lane)}",
            )
            if svg is None:
                return None
            more = ""
            if gpu.is_gpu(lane[0]):
                note, more = gpu.yardstick_note(self.results, lane[0]), self.bandwidth(key, which, lane)
            else:
                note = (
                    f"100 % = {best:.1f} GFLOP/s, the best measured rate of a 2048 × 2048 × 2048 sgemm with "
                    f'{lane[1]} thread{"s" if lane[1] > 1 else ""}.'
                )
            return f'<div class="card">{svg}<p class="small soft">{note}</p>{more}</div>'

        return self.panels("share", self.views(), draw)

    def bandwidth(self, key, which, lane):
        """Planned bytes over time as a share of the measured copy, below the share of the arithmetic; "" without."""
        best = gpu.copy_rate(self.results)
        if not best:
            return ""

        def value(r):
            if not r["bytes"]:
                return None
            return tuple(r["bytes"] / (t * 1e6) / best for t in (r["ms"], r["spread_ms"][1], r["spread_ms"][0]))

        svg = plots.lines(
            f"{key}-bytes",
            self.series(which, lane, value),
            "share of the copy bandwidth",
            self.tip,
            log=False,
            yformat=lambda v: f"{v * 100:.0f} %",
            reference=1.0,
            label=f"Share of the measured copy bandwidth, {self.view_title(which, lane)}",
        )
        return svg and (
            f'{svg}<p class="small soft">100 % = {best:,.0f} GB/s, a copy on the device, bytes read plus bytes written. The '
            f"bytes are the plan's: what scratch leaves in the L2 cache can carry a mixer beyond 100 %.</p>"
        )

    def crossovers(self):
        def draw(key, which, lane):
            drawn, listed = [], []
            lengths = sorted(
                {r["L"] for r in self.curve_rows if r["pass"] == which and self.lane(r) == lane}
            )
            for mixer_key in self.keys:
                mixer, variant = mixer_key
                if mixer == "attention" or not self.curve(mixer, variant, which, lane):
                    continue
                found = []
                for rival, marker in (("attention", "o"), ("dense", "D")):
                    if rival == mixer:
                        continue
                    theirs, choice = self.rival(rival, mixer, variant, which, lane)
                    if not theirs:
                        continue
                    c = crossover(self.curve(mixer, variant, which, lane), theirs)
                    value, note = describe(c)
                    rival_name = names.title(rival, choice)
                    text = f"{self.title(*mixer_key)} against {rival_name}\n{value}\n{note}"
                    found.append(
                        (rival_name, marker, c, text if c["state"] == CROSSES else f"{value}: {note}")
                    )
                    listed.append(
                        [
                            self.title(*mixer_key),
                            rival_name,
                            value if c["state"] == CROSSES else "none measured",
                            note,
                        ]
                    )
                drawn.append((self.title(*mixer_key), self.style[mixer_key]["colour"], found))
            svg = plots.ranges(key, drawn, lengths, f"Crossover lengths, {self.view_title(which, lane)}")
            if svg is None:
                return None
            return (
                f'<div class="card">{svg}<details><summary>As a table</summary>'
                f'{table(["mixer", "against", "crossover", "spread and range"], listed, left=4)}</details></div>'
            )

        return self.panels("cross", self.views(), draw)

    def peers(self):
        if not self.results.peers:
            return ""
        pairs = sorted(
            self.results.peers.values(),
            key=lambda p: (p["name"].split("/")[0] in names.MODELS, p["name"].split("/")[:2], p["L"] or 0, p["peer"]),
        )
        drawn, listed = [], []
        for p in pairs:
            row = self.results.rows.get(p["name"], {})
            mixer, variant = p["name"].split("/")[:2] if "/" in p["name"] else (p["name"], "")
            title = (
                f"{names.title(mixer, variant)}{self.operand_words(p['name'])}, L = {p['L']:,}"
                if mixer not in names.YARDSTICKS
                else f"{mixer} {p['L']:,}"
            )
            ours, theirs = p.get("ours_samples_ms") or [p["ours_ms"]], p.get("peer_samples_ms") or [
                p["peer_ms"]
            ]
            low, high = min(theirs) / max(ours), max(theirs) / min(ours)
            colour = names.styles([(mixer, variant)])[mixer, variant]["colour"]
            text = (
                f"{title} against {p['peer']}\nours {units.ms(p['ours_ms'])}, {p['peer']} {units.ms(p['peer_ms'])}\n"
                f"ratio {units.times(p['ratio'])} ({units.times(low)} to {units.times(high)})"
            )
            drawn.append(
                (
                    f"{title} · {p['peer'].split()[0]}{' in slabs' if p['peer'].endswith('slabs') else ''}",
                    colour,
                    p["ratio"],
                    low,
                    high,
                    text,
                )
            )
            rate = row.get("flops")
            listed.append(
                [
                    title,
                    p["peer"],
                    units.ms(p["ours_ms"]),
                    units.ms(p["peer_ms"]),
                    (units.times(p["ratio"]), "good" if low > 1 else "bad" if high < 1 else ""),
                    f"{units.times(low)} to {units.times(high)}",
                    f"{rate / p['ours_ms'] * 1e-6:.1f}" if rate else "–",
                    p.get("note", ""),
                ]
            )
        models_note = (
            " transformers are Hugging Face's models on torch; M2-BERT stands against BERT-base, which it is to replace."
            if goals.model_pairs(self.results)
            else ""
        )
        svg = plots.bars(
            "peers",
            drawn,
            "speed of smx relative to the peer (1× = equal; longer is faster)",
            "Speed ratios against peers",
        )
        head = [
            "work",
            "peer",
            "smx",
            "peer's time",
            "smx is faster by",
            "spread",
            "smx GFLOP/s",
            "peer's formulation",
        ]
        return (
            f'<h2>Against other libraries{", one thread" if self.threads else ""}</h2><p class="soft">Same shapes, same run, '
            f"interleaved; medians. The lines on the bars are the spread of the repetitions. A peer "
            f'runs the quickest formulation we could find for it, after warm-up; "in slabs" is a loop over a few channels or tokens '
            f"at a time, which keeps in cache what lies between its calls.{models_note}</p>"
            f'<div class="card">{svg}</div><details><summary>As a table</summary><div class="card">'
            f"{table(head, listed, left=2)}</div></details>"
        )

    @staticmethod
    def operand_words(name):
        """', bf16' of a row on a GPU in bf16."""
        backend = name.split("/")[3].split(":")[0] if name.count("/") >= 3 else ""
        return f", {gpu.operands(backend)}" if gpu.operands(backend) != "f32" else ""

    def costs(self):
        """What the backward pass and more threads do, at three lengths."""
        if not self.threads:
            return ""
        most = self.threads[-1]
        lengths = [n for n in (1024, 4096, 16384) if any(r["L"] == n for r in self.curve_rows)]
        if not lengths:
            lengths = sorted({r["L"] for r in self.curve_rows})[-3:]
        head = ["mixer", "L", "forward", "forward + backward", "ratio"]
        if most > 1:
            head += [f"forward, {most} threads", "gain", f"both, {most} threads", "gain"]
        rows = []
        for key in self.keys:
            for n in lengths:

                def at(which, threads):
                    return next((r["ms"] for r in self.curve(*key, which, ("cpu", threads)) if r["L"] == n), None)

                def ratio(a, b):
                    return units.times(a / b) if a and b else "–"

                one, both = at("forward", 1), at("forward+backward", 1)
                line = [self.title(*key), f"{n:,}", units.ms(one), units.ms(both), ratio(both, one)]
                if most > 1:
                    one_many, both_many = at("forward", most), at("forward+backward", most)
                    line += [
                        units.ms(one_many),
                        ratio(one, one_many),
                        units.ms(both_many),
                        ratio(both, both_many),
                    ]
                if any(x != "–" for x in line[2:]):
                    rows.append(line)
        if not rows:
            return ""
        note = "ratio: forward + backward over forward, one thread." + (
            f" gain: one thread's time over that of {most} threads." if most > 1 else ""
        )
        return (
            f'<h2>What the backward pass and more threads change</h2><div class="card">{table(head, rows)}'
            f'<p class="small soft">{note}</p></div>'
        )

    def comparison(self):
        if self.against is None:
            return ""
        changes, only_new, only_old = compare.compare(self.results, self.against)
        marks = {compare.FASTER: "good", compare.SLOWER: "bad"}
        changes.sort(key=lambda c: (c["verdict"] not in marks, -abs(c["ratio"] - 1)))
        rows = [
            [
                c["name"],
                units.ms(c["old_ms"]),
                units.ms(c["new_ms"]),
                (units.times(c["ratio"]), marks.get(c["verdict"], "")),
                (c["verdict"], marks.get(c["verdict"], "")),
            ]
            for c in changes
        ]
        count = {v: sum(c["verdict"] == v for c in changes) for v in (compare.FASTER, compare.SLOWER)}
        old = self.against.about
        extra = "".join(
            f'<p class="small soft">Only in the {which} run: {len(found)} rows.</p>'
            for which, found in (("new", only_new), ("old", only_old))
            if found
        )
        differ = [k for k in ("machine", "compiler") if old.get(k) != self.results.about.get(k)]
        warning = (
            f'<p class="card warn">The two runs differ in: {esc(", ".join(differ))}. Ratios mix that with changes of '
            f"the code.</p>"
            if differ
            else ""
        )
        head, moved = ["row", "old", "new", "speed of new / old", "verdict"], sum(count.values())
        body = (
            table(head, rows[:moved])
            if moved
            else '<div class="empty">No row changed beyond the spread.</div>'
        )
        if not rows:
            body = '<div class="empty">The two runs have no row in common.</div>'
        elif moved < len(rows):
            body += f"<details><summary>The other {len(rows) - moved} rows</summary>{table(head, rows[moved:])}</details>"
        return (
            f'<h2>Against an earlier run</h2><p class="soft">{esc(self.against_name)}: {esc(old.get("date") or "no date")}, '
            f'commit {esc(old.get("commit") or "unknown")}. {count[compare.FASTER]} rows faster, '
            f"{count[compare.SLOWER]} slower beyond the spread (no repetition of one run overlaps the other).</p>"
            f'{warning}<div class="card">{body}{extra}</div>'
        )

    def all_rows(self):
        head = [
            "row",
            "L",
            "D",
            "ms",
            "spread",
            "n",
            "tokens/s",
            "GFLOP/s",
            "flops",
            "bytes moved",
            "workspace",
            "tensors",
        ]
        rows = []
        for r in sorted(
            self.results.rows.values(),
            key=lambda r: (r["mixer"], r["variant"], r["pass"], self.lane_order(self.lane(r)), r["L"]),
        ):
            rows.append(
                [
                    f"{r['mixer']}/{r['variant']}/{r['pass']}/{r['backend']}"
                    + ("" if gpu.is_gpu(r["backend"]) else f":{r['threads']}"),
                    f"{r['L']:,}",
                    r["D"] or "–",
                    f"{r['ms']:.4g}",
                    f"{r['spread_ms'][0]:.4g} to {r['spread_ms'][1]:.4g}",
                    len(r["samples_ms"]),
                    units.short(r["tokens/s"]),
                    f"{r['GFLOP/s']:.1f}" if r["GFLOP/s"] else "–",
                    units.short(r["flops"]),
                    units.size(r["bytes"]),
                    units.size(r["workspace"]),
                    units.size(r["tensors"]),
                ]
            )
        skipped = [[s["name"], s["reason"]] for s in self.results.skipped.values()]
        out = f'<h2>Every row</h2><details><summary>{len(rows)} rows</summary><div class="card">{table(head, rows)}</div></details>'
        if skipped:
            out += (
                f'<details><summary>{len(skipped)} rows that were not measured, and why</summary><div class="card">'
                f'{table(["row", "reason"], skipped, left=2)}</div></details>'
            )
        return out

    def circumstances(self):
        about, m, c = self.results.about, self.results.about["machine"], self.results.about["compiler"]
        caches = ", ".join(f"{k} {v}" for k, v in m.get("caches", {}).items())
        facts = [
            ("CPU", m.get("cpu", "") + (f" ({m['cpu_id']})" if m.get("cpu_id") else "")),
            *gpu.device_facts(m),
            ("cores seen", f"{m.get('cores', '')}{', virtual machine' if m.get('virtual') else ''}"),
            ("vectors", m.get("simd")),
            ("caches of core 0", caches),
            ("memory", f"{m['memory_gib']} GiB" if m.get("memory_gib") else ""),
            ("governor", m.get("governor")),
            ("system", ", ".join(x for x in (m.get("system"), m.get("kernel")) if x)),
            ("compiler", c.get("compiler")),
            ("flags", c.get("flags")),
            ("Eigen", c.get("eigen")),
            ("BLAS", c.get("blas")),
            ("peers", about.get("peer_versions")),
            ("date", about.get("date")),
            ("commit", about.get("commit")),
            ("command", about.get("command")),
        ]
        listed = "".join(f"<dt>{esc(k)}</dt><dd>{esc(v)}</dd>" for k, v in facts if v)
        rates = []
        for r in sorted(
            self.results.rows.values(), key=lambda r: (r["mixer"], r["variant"], r["backend"], r["threads"], r["L"])
        ):
            if r["mixer"] in names.YARDSTICKS:
                rate = (
                    f"{r['GFLOP/s']:.1f} GFLOP/s"
                    if r["mixer"] != "copy"
                    else f"{r['bytes'] / r['ms'] * 1e-6:.1f} GB/s"
                )
                rates.append(
                    [
                        f"{r['mixer']}, {names.words(r['variant'])}",
                        f"{r['L']:,}",
                        f"GPU, {gpu.operands(r['backend'])}" if gpu.is_gpu(r["backend"]) else f"{r['threads']} threads",
                        rate,
                    ]
                )
        yardsticks = (
            (
                f'<div class="card"><h3>Yardsticks</h3>{table(["what", "size", "on", "rate"], rates)}'
                f'<p class="small soft">fma: independent multiply-adds in registers, the peak of the arithmetic. '
                f"copy: bytes read plus bytes written.</p></div>"
            )
            if rates
            else ""
        )
        on_cpu = any(not gpu.is_gpu(r["backend"]) for r in self.results.rows.values())
        how = (self.cpu_method() if on_cpu else "") + (gpu.method() if gpu.has_gpu(self.results) else "")
        return (
            f'<h2>Machine, compiler, flags</h2><div class="two"><div class="card"><dl>{listed}</dl></div>{yardsticks}</div>'
            f'<h2>How it was measured</h2><div class="card">{how}<p>tokens/s = batch × L / time. Memory = workspace + '
            f"tensors: the scratch that the plan "
            f"counts (in forward + backward with what forward keeps for backward), plus inputs, outputs, weights, "
            f"prepared kernels and gradients. flops and bytes are the plan's. Forward of a long convolution runs on "
            f"kernels whose spectra exist; forward + backward makes them, because training moves the kernels.</p>"
            f"<p>A crossover is interpolated between measured lengths, linear in log time against log length, at the last "
            f"change of the lead; its spread pairs the shortest repetitions of one side with the longest of the other. "
            f"Causal mixers are held against causal attention, the others against full attention. Nothing is extrapolated.</p>"
            f"</div>"
        )

    def cpu_method(self):
        return (
            f"<p>Google Benchmark, wall-clock time, f32, batch 1"
            f'{f", D = {self.width}" if self.width else ""} (attention: 12 heads of 64). Each row runs in a process of its '
            f"own: inputs, weights and workspace exist and one call has warmed up before the clock starts. A point is the "
            f"median of all repetitions in all rounds; a round goes once over all rows, so that slow drifts of the "
            f"machine show up as spread and not as a difference between two mixers. The pale bars are the shortest and "
            f"longest repetition.</p>"
            f"<p>Debian's libbenchmark is a debug build and says so in its JSON; that slows the bookkeeping between "
            f"repetitions, not the timed loop.</p>"
        )

    def html(self):
        about = self.results.about
        machine, compiler = about["machine"], about["compiler"]
        sub = " · ".join(
            str(x)
            for x in (
                "f32, batch 1" + (f", D = {self.width}" if self.width else ""),
                compiler.get("compiler"),
                compiler.get("flags"),
                (about.get("date") or "")[:16].replace("T", " "),
                f"commit {about['commit']}" if about.get("commit") else "",
            )
            if x
        )
        css = (
            _resource("page.css")
            .replace("@LIGHT@", _palette(names.LIGHT))
            .replace("@DARK@", _palette(names.DARK))
        )
        if self.curve_rows:
            body = [
                self.first_screen(),
                gpu.goals_section(self.results),
                '<h2>Memory</h2><p class="soft">Workspace plus all tensors, as planned.</p>',
                self.memory(),
                '<h2>How much of the machine each mixer uses</h2><p class="soft">Arithmetic rate as a share of the '
                "measured matrix product.</p>",
                self.fraction(),
                '<h2>Crossover lengths</h2><p class="soft">The measured length from which a mixer is faster; bars: '
                "spread.</p>",
                self.crossovers(),
                self.costs(),
                gpu.kernels_section(self.results),
            ]
        else:
            body = ['<div class="card empty">No mixer was measured in this run.</div>']
        body += [models.section(self), self.peers(), self.comparison(), gpu.launches_section(self.results), self.all_rows(), self.circumstances()]
        others = about.get("others_cores") or 0
        if others > BUSY_CORES:
            body.insert(
                0,
                f'<p class="card warn">Other programs kept {others:.1f} cores of this machine busy during the run: read '
                f"the numbers as a lower bound of the speed, and expect wide spreads.</p>",
            )
        if about.get("partial"):
            body.insert(0, f'<p class="card warn">{esc(about["partial"])}</p>')
        return (
            '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><meta name="viewport" '
            'content="width=device-width, initial-scale=1"><title>smx: sequence mixers on this machine</title>'
            f"<style>{css}</style></head><body><main><header><h1>smx on {esc(machine.get('gpu') or machine.get('cpu') or 'this machine')}</h1>"
            f"<span class=\"soft small\">{esc(sub)}</span></header>{''.join(body)}</main>"
            f"<script>{_resource('page.js')}</script></body></html>\n"
        )


def _bytes_tick(value):
    return units.size(value)


def render(results, against=None, against_name=""):
    return Page(results, against, against_name).html()
