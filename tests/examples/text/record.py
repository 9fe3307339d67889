#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Records what Hugging Face's tokenizers make of random texts that are hard for a tokenizer. Needs the package `tokenizers`.

usage: record.py train FOLDER                               small wordpiece.json and byte_pair.json
       record.py record TOKENIZER SEED COUNT [MAX_TOKENS]   COUNT lines for same_tokens, to the standard output

The files in tests/data/tokenizers are `train`, and `record` with seed 1: 50 texts each, 64 tokens for MiniLM's.
"""

import glob
import json
import random
import sys

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

CJK = [0x3400, 0x4DBF, 0x4E00, 0x9FFF, 0xF900, 0xFAFF, 0x20000, 0x2A6DF, 0x2A700, 0x2B740, 0x2B81F, 0x2B820, 0x2B91F,
       0x2B920, 0x2CEAF, 0x2F800, 0x2FA1F, 0x30000, 0x3042, 0x30A2]
WORDS = ["the", "The", "HELLO", "license", "software", "tokenization", "don't", "I'll", "we've", "can't", "THEY'RE", "'s", "n't"]
SPECIAL = ["[CLS]", "[SEP]", "[MASK]", "[PAD]", "[UNK]", "[mask]", "[ MASK]", "[MASK", "<|endoftext|>", "<|endoftext", "##ing"]
EMOJI = ["😀", "👍🏽", "👨\u200d👩\u200d👧", "🏳\ufe0f\u200d🌈", "❤\ufe0f", "🇩🇪", "\u200b", "\u200c", "\ufeff", "\u2060"]
BLANKS = [*" \t\n\r\v\f\x85\xa0\u2028\u2029\u3000\u200a\u1680\u202f", "  ", "   ", " \n", " \n ", "\r\n"]
LATIN = "éèêëàâäôöùûüçñåÅÉÖÜßẞøØæÆœþðđłŁşŞğĞİıÏñŽžǅǆﬁﬀ½²①ΣΣςσ"


def anything(rng):
    while 0xD800 <= (c := rng.randrange(0x80, 0x110000)) < 0xE000:
        pass
    return chr(c)


def some(first, last, count=1):
    return lambda rng: "".join(chr(rng.randrange(first, last)) for _ in range(rng.randrange(count) + 1))


def one_of(choices):
    return lambda rng: rng.choice(choices)


KINDS = [
    some(0x41, 0x5B), some(0x61, 0x7B, 8), some(0x30, 0x3A, 8), some(0x21, 0x30, 2), some(0x3A, 0x41), some(0, 0x20), some(0x7F, 0xA0),
    one_of(WORDS), one_of(BLANKS), one_of(LATIN), one_of(SPECIAL), one_of(EMOJI), one_of([chr(c) for c in CJK]), some(0x4E00, 0xA000, 3),
    lambda rng: rng.choice("aeiouAEIOUn") + some(0x300, 0x370, 3)(rng), some(0xAC00, 0xD7A4, 3), some(0x1100, 0x1200),
    one_of("…—–“”‘’«»¡¿、。「」·†•‰"), lambda rng: some(0x61, 0x6B)(rng) * rng.randrange(90, 112), lambda rng: "é" * rng.randrange(95, 105),
    some(0x370, 0x400), some(0x400, 0x500), some(0x590, 0x780), some(0x900, 0xE00, 4), some(0xE00, 0x1000), some(0x1E00, 0x2000),
    some(0x2000, 0x3400), some(0xE000, 0xF8FF), one_of("\ufffd\0\ufffe\U0010ffff\U000e0041"), some(0x10000, 0x1FB00), anything,
]  # fmt: skip


def text(rng):
    kinds = rng.sample(KINDS, rng.randrange(1, len(KINDS))) if rng.random() < 0.5 else KINDS
    return "".join(rng.choice(kinds)(rng) + (" " if rng.random() < 0.3 else "") for _ in range(rng.randrange(26)))


def train(folder):
    def lines():
        for name in sorted(glob.glob("/usr/share/common-licenses/*")):
            with open(name, encoding="utf-8", errors="ignore") as file:
                yield from file
        rng = random.Random(0)
        yield from (text(rng) for _ in range(2000))

    t = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    t.normalizer, t.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    t.decoder = decoders.WordPiece()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    t.train_from_iterator(lines(), trainers.WordPieceTrainer(vocab_size=900, limit_alphabet=250, special_tokens=special, show_progress=False))
    t.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[(s, t.token_to_id(s)) for s in ("[CLS]", "[SEP]")]
    )
    t.save(f"{folder}/wordpiece.json", pretty=False)

    t = Tokenizer(models.BPE())
    t.pre_tokenizer, t.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    t.post_processor = processors.ByteLevel(trim_offsets=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    t.train_from_iterator(
        lines(), trainers.BpeTrainer(vocab_size=900, special_tokens=["<|endoftext|>"], initial_alphabet=alphabet, show_progress=False)
    )
    t.save(f"{folder}/byte_pair.json", pretty=False)


def record(path, seed, count, max_tokens=None):
    t = Tokenizer.from_file(path)
    t.no_padding()
    t.no_truncation()
    if max_tokens:
        t.enable_truncation(int(max_tokens))
    rng = random.Random(int(seed))
    for _ in range(int(count)):
        ids = t.encode(line := text(rng)).ids
        record = {"text": line, "ids": ids}
        if (decoded := t.decode(ids, skip_special_tokens=False)) != line:  # otherwise same_tokens need not be told
            record["decoded"] = decoded
        print(json.dumps(record, ensure_ascii=False, separators=(",", ":")))


if __name__ == "__main__":
    commands = {("train", 1): train, ("record", 3): record, ("record", 4): record}
    command = commands.get((sys.argv[1] if len(sys.argv) > 1 else "", len(sys.argv) - 2))
    sys.exit(command(*sys.argv[2:]) if command else __doc__)
