"""Tokenizers in the styles of known models, trained on a given text by `tokenizers`, and texts that are hard to cut."""

import random

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

GPT4 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
        r"|\s+(?!\S)|\s+")
GPT4_POSSESSIVE = (r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*+"
                   r"|\s++$|\s*[\r\n]|\s+(?!\S)|\s")
QWEN2 = GPT4.replace(r"\p{N}{1,3}", r"\p{N}")
GPT4O = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
         r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
         r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
STYLES = ["gpt2", "gpt4", "gpt4_possessive", "gpt4o", "llama3", "qwen2", "smollm", "llama2", "metaspace", "plain"]


def make(style, text, vocab):
    """A tokenizer of that style."""
    bpe = {"llama3": {"ignore_merges": True},
           "llama2": {"unk_token": "<unk>", "fuse_unk": True, "byte_fallback": True},
           "metaspace": {"unk_token": "<unk>"},
           "plain": {"unk_token": "<unk>", "fuse_unk": True}}.get(style, {})
    tokenizer = Tokenizer(models.BPE(**bpe))
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    special = ["<|endoftext|>"]

    def split(pattern):
        return pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(pattern), "isolated"),
                                        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])

    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    if style == "gpt2":
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    elif style in ("gpt4", "llama3"):
        tokenizer.pre_tokenizer = split(GPT4)
    elif style == "gpt4_possessive":
        tokenizer.pre_tokenizer = split(GPT4_POSSESSIVE)
    elif style == "gpt4o":
        tokenizer.pre_tokenizer = split(GPT4O)
    elif style == "qwen2":
        tokenizer.normalizer = normalizers.NFC()
        tokenizer.pre_tokenizer = split(QWEN2)
    elif style == "smollm":
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True),
                                                           pre_tokenizers.ByteLevel(add_prefix_space=False)])
    elif style == "llama2":
        tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
        tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(),
                                               decoders.Strip(" ", 1, 0)])
        alphabet, special = [], ["<unk>", "<s>", "</s>"] + [f"<0x{b:02X}>" for b in range(256)]
    elif style == "metaspace":
        tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase(),
                                                     normalizers.Replace(Regex(r" {2,}"), " "),
                                                     normalizers.Strip(left=False, right=True)])
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
        tokenizer.decoder = decoders.Metaspace(prepend_scheme="first")
        alphabet, special = [], ["<unk>"]
    elif style == "plain":
        tokenizer.normalizer = normalizers.NFKD()
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
            pre_tokenizers.Split(Regex(r"\p{P}"), "merged_with_previous"), pre_tokenizers.Split(" ", "merged_with_next"),
            pre_tokenizers.Split("\n", "removed"), pre_tokenizers.Split(Regex(r"\s"), "contiguous"),
            pre_tokenizers.Split(Regex(r"\d+|\D+"), "isolated", invert=True), pre_tokenizers.Digits()])
        tokenizer.decoder = decoders.Fuse()
        alphabet, special = [], ["<unk>"]
    # SentencePiece learns within words; what it learns from has its spaces as marks already.
    if style == "llama2":
        tokenizer.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    trainer = trainers.BpeTrainer(vocab_size=vocab, special_tokens=special, initial_alphabet=alphabet,
                                  show_progress=False, limit_alphabet=400)
    pieces = [text[i:i + 5000] for i in range(0, len(text), 5000)]
    tokenizer.train_from_iterator(pieces, trainer)
    if style == "llama2":
        tokenizer.pre_tokenizer = None
        import json
        kept = json.loads(tokenizer.to_str())
        kept["added_tokens"] = [t for t in kept["added_tokens"] if not t["content"].startswith("<0x")]
        tokenizer = Tokenizer.from_str(json.dumps(kept))
    tokenizer.add_tokens([AddedToken("<tool>", normalized=True), AddedToken("Word", single_word=True),
                          AddedToken("  ", normalized=False), AddedToken("É", normalized=True)])
    tokenizer.add_special_tokens([AddedToken("<mask>", lstrip=True), AddedToken("<end>", rstrip=True),
                                  AddedToken("<both>", lstrip=True, rstrip=True), AddedToken("<mask>s")])
    return tokenizer


def random_text(seed, size, low=0, high=0x110000):
    """About `size` bytes of characters drawn evenly from a range."""
    draw = random.Random(seed)
    out, length = [], 0
    while length < size:
        c = draw.randrange(low, high)
        if not 0xD800 <= c < 0xE000:
            out.append(chr(c))
            length += 1 if c < 0x80 else 2 if c < 0x800 else 3 if c < 0x10000 else 4
    return "".join(out)


def mixed_text(seed, size):
    """Words, marks, spaces, emoji, digits and added tokens in any order."""
    draw = random.Random(seed)
    atoms = ["the", "The", "don't", "I'LL", "we'ſ", " ", "  ", "   ", "\n", "\r\n", "\t", "\u00a0", "\u3000", "\u2028", "\x00",
             "\x1b", "\x85", "\u180e", "\u200d", "\ufeff", "1", "23", "4567", "٣٤", "Ⅷ", "½", "五", "中文字", "。", "日本", "が",
             "か\u3099", "e\u0301", "é", "É", "E\u0301", "\u0301", "\u0345\u0301", "한국", "\u1112\u1161\u11ab", "ﬁ", "İ", "ß", "ẞ",
             "Σ", "σς", "🙂", "👩\u200d👩\u200d👧", "🇩🇪", "👍🏽", "ا", "العربية", "ֹש", "हिन्दी", "ไทย", "\U00011938", "\U0001F6DC",
             "\U0002EBF0", "<tool>", "<mask>", "<mask>s", "<end>", "<both>", "Word", "Words", "<|endoftext|>", "<s>", "<unk>",
             "<0x41>", "▁", "Ġ", ".", ",", "!!", "'", "...", "_", "a", "b", "ab", "é" * 3, "x" * 9, "\U0010FFFF", "\ue000"]
    return "".join(draw.choice(atoms) for _ in range(size // 4))


def chinese_text(size, marks="，。，、"):
    """Made-up Chinese: words of one to four characters by Zipf's law, `marks` between."""
    draw = random.Random(1)
    characters = [chr(0x4E00 + 7 * i) for i in range(2500)]
    by_rank = [1 / (i + 3) for i in range(20_000)]
    words = ["".join(draw.choices(characters, by_rank[:2500], k=draw.choice([1, 2, 2, 2, 3, 4]))) for _ in range(20_000)]
    out, length = [], 0
    while length < size:
        out.append("".join(draw.choices(words, by_rank, k=draw.randint(3, 12))) + (draw.choice(marks) if marks else ""))
        length += len(out[-1].encode())
    return "".join(out)
