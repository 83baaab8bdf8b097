#!/usr/bin/env python3
"""Writes tests/fixtures/tokenizers/: small tokenizers in many styles, and what `tokenizers` makes of texts with them.

    pip install tokenizers==0.23.3
    python3 tools/interop/make_tokenizer_fixtures.py
"""

import json
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from tokenizers_styles import STYLES, make, mixed_text, random_text

OUT = Path(__file__).resolve().parents[2] / "tests/fixtures/tokenizers"
ENGLISH = ("A transport plan says how much of each pile goes to each hole. The cost of a plan is the sum of what is moved, "
           "times how far. Monge asked in 1781 for the plan that costs the least; it isn't easy, and we'll see why. ") * 3
TEXTS = [ENGLISH[:150], "", " ", "a", "  two  spaces ", "\n\n tab\t\r\n", "don't DON'T we'ſ I'LL", "12345 1234567890 ٣٤ Ⅷ½",
         "中文字。日本語が か\u3099", "e\u0301\u0345\u0301 É E\u0301 \u1112\u1161\u11ab İΣẞ", "👩\u200d👩\u200d👧 🇩🇪 👍🏽\ufe0f",
         "\x00\x01\x1b\x7f\x85\u180e\u2028\ufeff", "Word Words aWord Word.", "x <mask>s <mask> <end>  <both> \u3000<tool>",
         "\U00011938\U0001F6DC\U0002EBF0\U0010FFFF\ue000\u0378", "<unk><s><|endoftext|><0x41>▁Ġ",
         *(mixed_text(seed, 300) for seed in range(3)), *(random_text(seed, 150, 0, 0x3000) for seed in range(2))]


def write(path, value):
    path.write_text(json.dumps(value, separators=(",", ":")) + "\n")


def cases_of(tokenizer):
    for text in TEXTS:
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        yield {"text": text, "ids": ids, "decoded": tokenizer.decode(ids, skip_special_tokens=False)}


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    learned = ENGLISH + mixed_text(99, 4000)
    cases = {}
    for style in STYLES:
        tokenizer = make(style, learned, 360)
        write(OUT / f"{style}.json", json.loads(tokenizer.to_str()))
        cases[style] = list(cases_of(tokenizer))
    # The two files of GPT-2, which is known to add no space in front and to have one special token.
    kept = json.loads(make("gpt2", learned, 360).to_str())
    folder = OUT / "gpt2_files"
    folder.mkdir(exist_ok=True)
    write(folder / "vocab.json", kept["model"]["vocab"])
    merges = "".join(f"{a} {b}\n" for a, b in kept["model"]["merges"])
    (folder / "merges.txt").write_text("#version: 0.2\n" + merges)
    tokenizer = Tokenizer(models.BPE.from_file(str(folder / "vocab.json"), str(folder / "merges.txt")))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken("<|endoftext|>")])
    cases["gpt2_files"] = list(cases_of(tokenizer))
    write(OUT / "cases.json", cases)


main()
