# SPDX-License-Identifier: Apache-2.0
"""How mixers and models are called and drawn. A mixer that is not listed here gets its own name and the next free colour."""

# The rivals first and in grey: every other curve is read against them.
MIXERS = {
    "attention": "softmax attention",
    "dense": "dense matrix",
    "monarch": "Monarch",
    "long_convolution": "long convolution",
    "block_diagonal": "block-diagonal",
}
MODELS = {"m2_bert_80m": "M2-BERT-80M", "bert_base": "BERT-base", "minilm": "MiniLM-L6"}  # a section of their own
PLAIN_VARIANTS = {"full", "plain", "encode", "embed"}
COLOURS = {
    "attention": "rival",
    "dense": "baseline",
    "monarch": "c1",
    "long_convolution": "c2",
    "block_diagonal": "c3",
    "m2_bert_80m": "c1",
    "bert_base": "c2",
    "minilm": "c3",
}
MARKERS = {
    "attention": "s",
    "dense": "D",
    "monarch": "o",
    "long_convolution": "^",
    "block_diagonal": "v",
    "m2_bert_80m": "o",
    "bert_base": "^",
    "minilm": "v",
}
SPARE_COLOURS = ("c4", "c5", "c6", "c7")
SPARE_MARKERS = ("P", "X", "p", "h")
DASHES = ("-", (0, (4, 2)), (0, (1.2, 1.6)), (0, (6, 1.5, 1.2, 1.5)))
YARDSTICKS = ("sgemm", "fma", "copy", "gemm")
CAUSAL = {"ssd", "linear_attention"}  # whatever their variant is called
RIVALS = ("attention", "dense")

# The palette stands in the page's style sheet twice, for light and for dark; charts only name the colours.
LIGHT = {
    "rival": "#3a3f4b",
    "baseline": "#8b90a0",
    "c1": "#1f6feb",
    "c2": "#d9480f",
    "c3": "#0f8a5f",
    "c4": "#8a3ffc",
    "c5": "#b5179e",
    "c6": "#0b7285",
    "c7": "#a07000",
}
DARK = {
    "rival": "#e6e8ee",
    "baseline": "#8d93a5",
    "c1": "#6ea8fe",
    "c2": "#ff9152",
    "c3": "#4fd1a1",
    "c4": "#b794ff",
    "c5": "#f783e0",
    "c6": "#5fd3e6",
    "c7": "#e8c25a",
}


def words(text):
    return text.replace("_", " ").replace("-", " ")


def title(mixer, variant=""):
    name = MIXERS.get(mixer) or MODELS.get(mixer) or words(mixer)
    return name if not variant or variant in PLAIN_VARIANTS else f"{name}, {words(variant)}"


def ordered(keys):
    """(mixer, variant) keys: rivals, known mixers, the others; variants by name with the plain one first."""
    known = list(MIXERS)

    def rank(key):
        mixer, variant = key
        return (
            known.index(mixer) if mixer in known else len(known),
            mixer,
            variant not in PLAIN_VARIANTS,
            variant,
        )

    return sorted(set(keys), key=rank)


def styles(keys):
    """Colour name, marker and dash pattern of each (mixer, variant)."""
    out, seen, spare = {}, {}, []
    for mixer, variant in ordered(keys):
        if mixer not in COLOURS and mixer not in spare:
            spare.append(mixer)
        at = spare.index(mixer) % len(SPARE_COLOURS) if mixer in spare else 0
        n = seen[mixer] = seen.get(mixer, -1) + 1
        out[mixer, variant] = {
            "colour": COLOURS.get(mixer, SPARE_COLOURS[at]),
            "marker": MARKERS.get(mixer, SPARE_MARKERS[at]),
            "dash": DASHES[n % len(DASHES)],
        }
    return out


def is_layout(variant):
    """A mixer that a curve shows already, in another order of memory: it stands in the tables, not in the charts."""
    return variant.endswith("channel-major")


def is_causal(variant, mixer=""):
    return mixer in CAUSAL or "causal" in words(variant).split()


def rival_variant(variant, available, mixer=""):
    """Which variant of a rival a mixer is held against: the causal one for causal mixers, if there is one."""
    for choice in (("causal", "full") if is_causal(variant, mixer) else ("full", "causal")):
        if choice in available:
            return choice
    return None
