#!/usr/bin/env python3
"""Holds `monge export` and `monge import` against Hugging Face's transformers.

For models of several shapes: train one for some steps, export it, load it with transformers (a warning or a tensor
that is missing or left over is an error), and compare the ids of a text, the validation loss, and 200 greedy tokens.
Then the other way: models with random weights made by transformers, imported, exported again, and compared tensor by
tensor, and by their loss.

  pip install torch transformers
  python3 tools/interop/transformers_check.py TEXT [build/monge]
"""

import json
import math
import pathlib
import subprocess
import sys
import tempfile
import warnings

import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

CONTEXT = 256
GPT2 = ["model.position=learned", "model.norm=layernorm"]
LLAMA = ["model.position=rope", "model.norm=rmsnorm"]
EXPORTED = {
    "gpt2, biases, tied, gelu_new": ["data.tokenizer=char", "model.bias=true", "model.mlp={kind: gelu, tanh: true}", *GPT2],
    "gpt2, no biases, a head of its own": ["data.tokenizer=byte", "model.tied_head=false", "model.norm={kind: layernorm, eps: 1.0e-6}"],
    "llama, shared key heads": ["data.tokenizer={kind: bpe, vocab: 400}", "model.mlp={kind: swiglu, ratio: 2.67}", "model.kv_heads=2", "model.tied_head=false", *LLAMA],
    "llama, biases, tied, another base": ["data.tokenizer=char", "model.position={kind: rope, base: 500}", "model.norm={kind: rmsnorm, eps: 1.0e-6}", "model.mlp=swiglu", "model.bias=true"],
}


def run(*command):
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}")
    return done.stdout


def load(folder):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model, info = AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True)
    assert not any(info.values()), info
    return model.float().eval()


def loss_of(model, ids, first):
    """Over the windows that Monge takes: whole ones, one after the other, from token `first`."""
    total, windows = 0.0, (len(ids) - first - 1) // CONTEXT
    with torch.no_grad():
        for i in range(windows):
            part = torch.tensor(ids[first + i * CONTEXT : first + (i + 1) * CONTEXT + 1])
            logits = model(part[None, :-1]).logits[0].double()
            total += torch.nn.functional.cross_entropy(logits, part[1:]).item()
    return total / windows


def greedy(model, ids, count):
    ids = list(ids)
    with torch.no_grad():
        for _ in range(count):
            ids.append(int(model(torch.tensor([ids])).logits[0, -1].argmax()))
    return ids


def close(a, b, relative):
    return abs(a - b) <= relative * abs(b)


def exported(monge, text, folder, name, settings):
    run_folder, there = folder / "run", folder / "hf"
    recipe = folder / "recipe.yaml"
    recipe.write_text(
        f"data: {{kind: text, path: {text}}}\n"
        f"model: {{layers: 3, width: 64, heads: 4, context: {CONTEXT}}}\n"
        "train: {steps: 60, batch: 4, eval_every: 0, sample_tokens: 0}\noptimizer: {lr: 3.0e-3}\n"
    )
    run(monge, "train", recipe, *settings, "--out", run_folder)
    run(monge, "export", run_folder, there)
    model, tokenizer = load(there), AutoTokenizer.from_pretrained(there)

    content = pathlib.Path(text).read_text()
    ids = tokenizer.encode(content)
    saved = folder / "tokens.json"
    kind = next(s.split("=", 1)[1] for s in settings if s.startswith("data.tokenizer="))
    run(monge, "tokenize", text, f"tokenizer={kind}", "--save", saved)
    same_ids = ids == json.loads(saved.read_text())["ids"]

    here = json.loads(run(monge, "eval", run_folder, "--json"))["val_loss"]
    there_loss = loss_of(model, ids, int(0.9 * len(ids)))
    prompt = content[:40]
    sampled = run(monge, "sample", run_folder, "--temperature", 0, "--tokens", 200, "--prompt", prompt)
    expected = tokenizer.decode(greedy(model, tokenizer.encode(prompt), 200))
    same_text = sampled.rstrip("\n") == expected.rstrip("\n")

    run(monge, "export", run_folder, folder / "bf16", "--dtype", "bfloat16")
    rounded = load_file(folder / "bf16/model.safetensors")
    same_rounding = all(torch.equal(x.bfloat16(), rounded[n]) for n, x in load_file(there / "model.safetensors").items())
    ok = same_ids and close(here, there_loss, 1e-5) and same_text and same_rounding
    print(f"export  {name:36} ids {len(ids)} {'same' if same_ids else 'DIFFER'}, loss {here:.6f} and {there_loss:.6f}, "
          f"200 greedy tokens {'same' if same_text else 'DIFFER'}, bf16 {'same' if same_rounding else 'DIFFERS'}")
    return ok


def random_models():
    common = dict(vocab_size=256, bos_token_id=None, eos_token_id=None, pad_token_id=None)
    wide = dict(hidden_size=48, intermediate_size=80, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=CONTEXT, **common)
    return {
        "gpt2": transformers.GPT2Config(n_embd=48, n_layer=2, n_head=4, n_positions=CONTEXT, **common),
        "gpt2, inner 100, exact gelu": transformers.GPT2Config(n_embd=48, n_layer=2, n_head=3, n_inner=100, n_positions=CONTEXT, activation_function="gelu", **common),
        "llama, own head": transformers.LlamaConfig(**wide),
        "llama, biases, tied": transformers.LlamaConfig(attention_bias=True, mlp_bias=True, tie_word_embeddings=True, **wide),
        "mistral without a window": transformers.MistralConfig(sliding_window=None, **wide),
        "qwen2": transformers.Qwen2Config(**wide),
    }


def imported(monge, text, folder, name, config, shards):
    torch.manual_seed(1)
    model = AutoModelForCausalLM.from_config(config).eval()
    for p in model.parameters():  # of a size at which logits differ, gains and biases too
        torch.nn.init.normal_(p, std=0.2)
    there, run_folder, back = folder / "hf", folder / "run", folder / "back"
    model.save_pretrained(there, max_shard_size="60KB" if shards else "5GB")
    write_byte_tokenizer(there)
    run(monge, "import", there, run_folder)
    result = json.loads(run(monge, "eval", run_folder, f"data.path={text}", "--json"))
    ids = list(pathlib.Path(text).read_bytes())
    expected = loss_of(model, ids, int(0.9 * len(ids)))
    run(monge, "export", run_folder, back)
    again = load_file(back / "model.safetensors")
    original = {n: p for n, p in model.state_dict().items() if n in again}
    same = all(torch.equal(original[n], again[n]) for n in original) and len(original) >= len(list(model.parameters()))
    zeros = [n for n in again if n not in original]
    same = same and all(not again[n].any() for n in zeros)
    print(f"import  {name:36} loss {result['val_loss']:.6f} and {expected:.6f}, exported again: {len(original)} tensors "
          f"{'same' if same else 'DIFFER'}" + (f" and {len(zeros)} zeros" if zeros else ""))
    return same and close(result["val_loss"], expected, 1e-5)


def write_byte_tokenizer(folder):
    """Of ids 0 .. 255, the bytes, as GPT-2 writes them."""
    visible = [b for b in range(256) if 33 <= b <= 126 or 161 <= b <= 172 or b >= 174]
    hidden = [b for b in range(256) if b not in visible]
    vocab = {chr(b): b for b in visible} | {chr(256 + i): b for i, b in enumerate(hidden)}
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    (folder / "tokenizer.json").write_text(json.dumps({
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": None,
        "pre_tokenizer": level, "post_processor": None, "decoder": level,
        "model": {"type": "BPE", "vocab": vocab, "merges": []}}))


def main():
    text, monge = pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(sys.argv[2] if len(sys.argv) > 2 else "build/monge").resolve()
    print(f"torch {torch.__version__}, transformers {transformers.__version__}")
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    ok = True
    with tempfile.TemporaryDirectory() as work:
        for i, (name, settings) in enumerate(EXPORTED.items()):
            folder = pathlib.Path(work) / f"e{i}"
            folder.mkdir()
            ok &= exported(monge, text, folder, name, settings)
        for i, (name, config) in enumerate(random_models().items()):
            folder = pathlib.Path(work) / f"i{i}"
            folder.mkdir()
            ok &= imported(monge, text, folder, name, config, shards=i % 2 == 1)
    print("all the same" if ok else "NOT all the same")
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
