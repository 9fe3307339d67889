# SPDX-License-Identifier: Apache-2.0
"""What the CUDA backend and the models set out to reach, each beside what a run measured. Nothing is taken from another
run."""

from . import peers, units

MET, MISSED, OPEN = "met", "missed", "not measured"
SHORT_CONVOLUTIONS = [2**e for e in range(10, 16)]  # 1K to 32K
LONG_CONVOLUTIONS = [2**e for e in range(16, 21)]  # up to 1M
M2_BERT = {128: 2, 512: 2.2, 1024: 2.4, 2048: 2.7, 4096: 3.5, 8192: 5}  # L: speed over Hugging Face's BERT-base
HEAD = ["goal", "wanted", "measured", "", "of"]


class Goal:
    """what, goal: text. measured: text or None. met: whether, None without a measurement. detail: of what."""

    def __init__(self, what, goal, measured=None, met=None, detail=""):
        self.what, self.goal, self.measured, self.met, self.detail = what, goal, measured, met, detail

    @property
    def state(self):
        return OPEN if self.met is None else MET if self.met else MISSED

    def cells(self):
        """A row of the page's table, under HEAD."""
        mark = {MET: "good", MISSED: "bad", OPEN: ""}[self.state]
        return [self.what, self.goal, self.measured or "–", (self.state, mark), self.detail]


def _ms(results, name):
    row = results.rows.get(name)
    return row["ms"] if row else None


def _rate(results, name):
    """flop/s of a row."""
    row = results.rows.get(name)
    return row["flops"] / (row["ms"] * 1e-3) if row and row["flops"] else None


def _at_least(what, goal, values, limit, show):
    """values: [(label, number)]; the smallest one counts."""
    values = [v for v in values if v[1] is not None]
    if not values:
        return Goal(what, goal)
    label, least = min(values, key=lambda v: v[1])
    detail = f"{label}; the least of {len(values)}" if len(values) > 1 else label
    return Goal(what, goal, show(least), least >= limit, detail)


def _percent(share):
    return f"{share * 100:.0f} %"


def _ratio(top, bottom):
    return top / bottom if top and bottom else None


def _monarch(results):
    ours = "monarch/order-2/forward/cuda/L:65536"
    dense = _ratio(_ms(results, "dense/full/forward/cuda/L:65536"), _ms(results, ours))
    share = _ratio(_rate(results, ours), _rate(results, "gemm/cublas-batch-256/forward/cuda/L:256"))
    where = "L = 65,536, D = 768, f32"
    return [
        _at_least("Monarch of order 2 against a dense cuBLAS product", "20×", [(where, dense)], 20, units.times),
        _at_least("Monarch of order 2, share of the batched GEMM rate", "60 %", [(where, share)], 0.6, _percent),
    ]


def _convolution(results):
    def against(lengths):
        return [
            (f"L = {n:,}, {words}", pair["ratio"])
            for n in lengths
            for variant, words in (("causal", "(L,D)"), ("causal-channel-major", "(D,L)"))
            for pair in [results.peers.get((f"long_convolution/{variant}/forward/cuda/L:{n}", "cuFFT"))]
            if pair
        ]

    what = "Long convolution against cuFFT, "
    return [
        _at_least(what + "L = 1K to 32K", "2×", against(SHORT_CONVOLUTIONS), 2, units.times),
        _at_least(what + "beyond, up to 1M", "1×", against(LONG_CONVOLUTIONS), 1, units.times),
    ]


def _attention(results):
    gemm = _rate(results, "gemm/cublas/forward/cuda-bf16/L:8192")
    return [
        _at_least(
            f"Attention forward in bf16, d = {dim}, share of the bf16 GEMM rate",
            "50 %",
            [
                (
                    "L = 8,192, full",
                    _ratio(_rate(results, f"attention/full{suffix}/forward/cuda-bf16/L:8192"), gemm),
                )
            ],
            0.5,
            _percent,
        )
        for dim, suffix in ((64, ""), (128, "-d128"))
    ]


def _ssd(results):
    shares, faster = [], []
    for row in results.rows.values():
        if (row["mixer"], row["pass"], row["backend"]) != ("ssd", "forward", "cuda"):
            continue
        label = f"{row['variant'].replace('-', ' ')}, L = {row['L']:,}"
        recipe = _ms(results, row["name"].replace("/cuda/", "/cuda-recipe/"))
        if recipe:
            shares.append((label, row["ms"] / recipe))
        attention = _ms(results, f"attention/causal/forward/cuda/L:{row['L']}")
        if attention and row["L"] >= 2048 and row["variant"] == "heads-24":
            faster.append((label, attention / row["ms"]))
    what = "SSD in the time of its own recipe"
    if shares:
        label, most = max(shares, key=lambda v: v[1])
        own = Goal(what, "60 %", _percent(most), most <= 0.6, f"{label}; the most of {len(shares)}")
    else:
        own = Goal(what, "60 %")
    return [
        own,
        _at_least("SSD faster than our causal attention from L = 2,048, f32", "1×", faster, 1, units.times),
    ]


def _launches(results):
    counted = [
        r
        for r in results.rows.values()
        if r["backend"] == "cuda" and r["pass"] in ("forward", "step") and r.get("launches_counted") is not None
    ]
    what, goal = "Launches of each forward and step are the plan's", "all"
    if not counted:
        return [Goal(what, goal)]
    wrong = [r["name"] for r in counted if round(r["launches_counted"] - r["launches"], 6) != 0]
    return [
        Goal(
            what,
            goal,
            f"{len(counted) - len(wrong)} of {len(counted)} rows",
            not wrong,
            f"first that differs: {wrong[0]}" if wrong else "counted by the backend in one call",
        )
    ]


def goals(results):
    return [
        *_monarch(results),
        *_convolution(results),
        *_attention(results),
        *_ssd(results),
        *_launches(results),
    ]


def model_pairs(results):
    """Those with Hugging Face's models."""
    return [p for p in results.peers.values() if p["peer"].startswith(peers.MODELS)]


def model_goals(results):
    """Encoders on one thread against Hugging Face's; M2-BERT against the BERT-base that it is to replace."""

    def goal(what, row, limit):
        pairs = [p for p in model_pairs(results) if p["name"] == row]
        return _at_least(what, f"{limit:g}×", [(p["peer"], p["ratio"]) for p in pairs], limit, units.times)

    return [
        *(
            goal(
                f"M2-BERT-80M against BERT-base of Hugging Face, L = {n:,}",
                f"m2_bert_80m/encode/forward/cpu:1/L:{n}",
                least,
            )
            for n, least in M2_BERT.items()
        ),
        *(
            goal(f"BERT-base against the same, L = {n:,}", f"bert_base/encode/forward/cpu:1/L:{n}", 1)
            for n in (128, 512)
        ),
        goal(
            "MiniLM-L6, a sentence of 20 words, against the same of Hugging Face",
            "minilm/embed/forward/cpu:1/L:24",
            1,
        ),
    ]


def text(found):
    """Goals as a table of plain text."""
    lines = [(g.what, g.goal, g.measured or "–", g.state, g.detail) for g in found]
    wide = [max(len(line[i]) for line in lines) for i in range(4)]
    return "\n".join("  ".join(c.ljust(w) for c, w in zip(line, [*wide, 0])).rstrip() for line in lines)
