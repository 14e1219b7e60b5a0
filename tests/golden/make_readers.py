#!/usr/bin/env python3
"""Writes the llama2.c and .safetensors cases of tests/golden/checkpoints, with PyTorch's outputs.

    /usr/bin/python3 tests/golden/make_readers.py [stories260K.bin]

With the weights of stories260K (llama2.c) it also writes the outputs for data/stories260k.gguf, which is their conversion
to F16 by tandem-model; see data/stories260k.md.
Needs python3-torch; run at authoring time only. Both formats are written by hand here, from their
public descriptions. NAME.golden as make_golden.py has it.
"""
import json
import pathlib
import struct
import sys

import torch

import make_checkpoints as paper
import make_llama as llama

DATA = paper.DATA
TYPES = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.float64: "F64",
         torch.bool: "BOOL"}
TOKENS = 40


def hf_names(case, tensors):
    names = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
    parts = {"attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm",
             "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
             "attn_output": "self_attn.o_proj", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj",
             "ffn_down": "mlp.down_proj"}
    for i in range(llama.LAYERS):
        names.update({f"blk.{i}.{ours}": f"model.layers.{i}.{theirs}" for ours, theirs in parts.items()})
    return {names[key.rsplit(".", 1)[0]] + "." + key.rsplit(".", 1)[1]: value for key, value in tensors.items()}


def raw(tensor):
    tensor = tensor.contiguous()
    return (tensor.view(torch.int16) if tensor.dtype == torch.bfloat16 else tensor).numpy().tobytes()


def safetensors_write(path, tensors):
    header, blobs, at = {"__metadata__": {"format": "pt"}}, [], 0
    for name, tensor in tensors.items():
        blob = raw(tensor)
        header[name] = {"dtype": TYPES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [at, at + len(blob)]}
        blobs.append(blob)
        at += len(blob)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(blobs))


def llama_case(case, seed):
    tensors = llama.weights_make(case, seed)
    tokens = torch.randint(llama.VOCABULARY, (TOKENS,), generator=torch.Generator().manual_seed(seed))
    return tensors, tokens


def golden(name, case, tensors, tokens, epsilon):
    with torch.no_grad():
        paper.write_golden(name, 0, tokens, llama.forward(case, tensors, tokens, epsilon))


def llama2c(name, case, seed):
    """dim, hidden, layers, heads, KV heads, vocabulary (negative: an output matrix of its own), positions."""
    tensors, tokens = llama_case(case, seed)
    golden(name, case, tensors, tokens, 1e-5)
    sign = -1 if case.own_output else 1
    out = struct.pack("<7i", llama.WIDTH, llama.FORWARD, llama.LAYERS, llama.HEADS, case.kv_heads,
                      sign * llama.VOCABULARY, llama.CONTEXT)
    order = ["attn_norm", "attn_q", "attn_k", "attn_v", "attn_output", "ffn_norm", "ffn_gate", "ffn_down", "ffn_up"]
    out += raw(tensors["token_embd.weight"])
    for part in order:
        out += b"".join(raw(tensors[f"blk.{i}.{part}.weight"]) for i in range(llama.LAYERS))
    out += raw(tensors["output_norm.weight"])
    out += raw(torch.zeros(llama.CONTEXT, llama.HEAD))      # cosines and sines
    if case.own_output:
        out += raw(tensors["output.weight"])
    (DATA / f"{name}.bin").write_bytes(out)


def llama_config(case, **more):
    return {"model_type": "llama", "hidden_act": "silu", "num_attention_heads": llama.HEADS, "rms_norm_eps": 1e-6,
            "max_position_embeddings": llama.CONTEXT, "rope_theta": case.base, "rope_scaling": None,
            "tie_word_embeddings": not case.own_output, **more}


def llama_hf(name, case, seed, dtype, shards):
    tensors, tokens = llama_case(case, seed)
    tensors = {key: value.to(dtype).float() for key, value in tensors.items()}
    golden(name, case, tensors, tokens, 1e-6)
    theirs = {key: value.to(dtype) for key, value in hf_names(case, tensors).items()}
    folder = DATA / name
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(llama_config(case)))
    if shards == 1:
        safetensors_write(folder / "model.safetensors", theirs)
        return
    keys, places = list(theirs), {}
    for i in range(shards):
        file = f"model-{i + 1:05}-of-{shards:05}.safetensors"
        mine = keys[i::shards]
        places.update({key: file for key in mine})
        safetensors_write(folder / file, {key: theirs[key] for key in mine})
    (folder / "model.safetensors.index.json").write_text(
        json.dumps({"metadata": {}, "weight_map": places}))


def gpt2_hf(name, seed):
    """Matrices are [in, out] there, and the causal mask is kept beside them."""
    torch.manual_seed(seed)
    model = paper.Language("QKV", paper.HEADS).eval()
    for value in model.parameters():
        torch.nn.init.normal_(value, std=0.3)
    tokens = torch.randint(paper.VOCABULARY, (paper.POSITIONS,))
    with torch.no_grad():
        paper.write_golden(name, 0, tokens, model(tokens))
    turned = ("attn.c_attn.weight", "attn.c_proj.weight", "mlp.c_fc.weight", "mlp.c_proj.weight")
    theirs = {}
    for key, value in model.state_dict().items():
        theirs["transformer." + key] = value.T if key.endswith(turned) else value
        if key.endswith(".attn.bias"):
            theirs["transformer." + key] = value.bool()
    folder = DATA / name
    folder.mkdir(exist_ok=True)
    safetensors_write(folder / "model.safetensors", theirs)
    (folder / "config.json").write_text(json.dumps(
        {"model_type": "gpt2", "n_head": paper.HEADS, "activation_function": "gelu", "layer_norm_epsilon": 1e-5}))


def pieces_hf(name, seed):
    """A tokenizer.json as it is made from scored pieces: every way to cut a piece in two is a merge, in the order of scores.
    NAME.golden has texts and ids as make_golden.py writes them for BPE."""
    pieces = llama.pieces_learn(120)
    letters = sorted(set(llama.TRAINING.replace(" ", llama.SIGN)) - {"\n"})
    tokens = ["<unk>", "<s>", "</s>"] + [f"<0x{byte:02X}>" for byte in range(256)] + pieces + letters
    ids = {token: i for i, token in enumerate(tokens)}
    scores = {token: -float(i) for i, token in enumerate(pieces + letters)}
    merges = [f"{piece[:i]} {piece[i:]}" for piece in pieces for i in range(1, len(piece))
              if piece[:i] in scores and piece[i:] in scores]
    special = lambda i: {"id": i, "content": tokens[i], "special": True}
    tokenizer = {
        "normalizer": {"type": "Sequence", "normalizers": [
            {"type": "Prepend", "prepend": llama.SIGN},
            {"type": "Replace", "pattern": {"String": " "}, "content": llama.SIGN}]},
        "pre_tokenizer": None, "added_tokens": [special(i) for i in range(3)],
        "post_processor": {"type": "TemplateProcessing", "single": [
            {"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}]},
        "model": {"type": "BPE", "unk_token": "<unk>", "byte_fallback": True, "vocab": ids, "merges": merges}}
    case = llama.Case(pairing="halves")
    tensors = llama.weights_make(case, seed)
    tensors["token_embd.weight"] = torch.zeros(len(tokens), llama.WIDTH)
    folder = DATA / name
    folder.mkdir(exist_ok=True)
    safetensors_write(folder / "model.safetensors",
                      {key: value.half() for key, value in hf_names(case, tensors).items()})
    (folder / "config.json").write_text(json.dumps(llama_config(case)))
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    out = struct.pack("<I", len(llama.TEXTS))
    for text in llama.TEXTS:
        data, found = text.encode("utf-8"), [1] + llama.pieces_encode(text, scores, ids, True)
        out += struct.pack("<I", len(data)) + data + struct.pack(f"<I{len(found)}I", len(found), *found)
    (DATA / f"{name}.golden").write_bytes(out)


def varint(value):
    value &= (1 << 64) - 1
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def proto(number, value):
    """One field of a protobuf message: bytes, a float or a whole number."""
    if isinstance(value, bytes):
        return varint(number << 3 | 2) + varint(len(value)) + value
    if isinstance(value, float):
        return varint(number << 3 | 5) + struct.pack("<f", value)
    return varint(number << 3) + varint(value)


def sentencepiece_hf(name, seed):
    """The pieces of pieces_hf as SentencePiece writes them; the texts and ids are those of llama_pieces.golden."""
    pieces = llama.pieces_learn(120)
    letters = sorted(set(llama.TRAINING.replace(" ", llama.SIGN)) - {"\n"})
    rows = [("<unk>", 0.0, 2), ("<s>", 0.0, 3), ("</s>", 0.0, 3)]
    rows += [(f"<0x{byte:02X}>", 0.0, 6) for byte in range(256)]
    rows += [(piece, -float(i), None) for i, piece in enumerate(pieces + letters)]
    model = b""
    for text, score, kind in rows:
        model += proto(1, proto(1, text.encode()) + proto(2, score) + (proto(3, kind) if kind else b""))
    training = proto(1, b"story.txt") + proto(3, 2) + proto(4, len(rows)) + proto(10, 0.99995) + proto(35, 1) + proto(43, -1)
    model += proto(2, training) + proto(3, proto(1, b"identity") + proto(2, b"") + proto(3, 1) + proto(4, 0) + proto(5, 1))
    case = llama.Case(pairing="halves")
    tensors = llama.weights_make(case, seed)
    tensors["token_embd.weight"] = torch.zeros(len(rows), llama.WIDTH)
    folder = DATA / name
    folder.mkdir(exist_ok=True)
    safetensors_write(folder / "model.safetensors",
                      {key: value.half() for key, value in hf_names(case, tensors).items()})
    (folder / "config.json").write_text(json.dumps(llama_config(case)))
    (folder / "tokenizer.model").write_bytes(model)


def stories(path):
    """Greedy tokens and their logits, with the matrices rounded as the F16 file has them."""
    data = pathlib.Path(path).read_bytes()
    width, ff, layers, heads, kv_heads, vocabulary, _ = struct.unpack_from("<7i", data)
    values, at = torch.frombuffer(bytearray(data[28:]), dtype=torch.float32), 0
    llama.WIDTH, llama.FORWARD, llama.LAYERS, llama.HEADS, llama.HEAD = width, ff, layers, heads, width // heads
    kv, tensors = kv_heads * llama.HEAD, {}

    def take(*shape):
        nonlocal at
        count = int(torch.tensor(shape).prod())
        at += count
        part = values[at - count:at].view(shape)
        return part.half().float() if len(shape) == 2 else part

    tensors["token_embd.weight"] = take(vocabulary, width)
    for part, shape in (("attn_norm", (width,)), ("attn_q", (width, width)), ("attn_k", (kv, width)),
                        ("attn_v", (kv, width)), ("attn_output", (width, width)), ("ffn_norm", (width,)),
                        ("ffn_gate", (ff, width)), ("ffn_down", (width, ff)), ("ffn_up", (ff, width))):
        for i in range(layers):
            tensors[f"blk.{i}.{part}.weight"] = take(*shape)
    tensors["output_norm.weight"] = take(width)
    case, tokens = llama.Case(kv_heads=kv_heads, rotated=llama.HEAD), [1]
    with torch.no_grad():
        while len(tokens) < 48:
            logits = llama.forward(case, tensors, torch.tensor(tokens), 1e-5)
            tokens.append(int(logits[-1].argmax()))
        logits = llama.forward(case, tensors, torch.tensor(tokens), 1e-5)
    head = b"GOLD" + struct.pack("<4I", 0, len(tokens), *logits.shape)
    (llama.DATA / "stories260k.golden").write_bytes(
        head + torch.tensor(tokens).numpy().astype("<u4").tobytes() + logits.numpy().astype("<f4").tobytes())


def main():
    torch.set_num_threads(1)
    pieces_hf("llama_pieces", 506)
    sentencepiece_hf("llama_sentencepiece", 506)
    halves = dict(pairing="halves")
    llama2c("llama2c", llama.Case(kv_heads=2), 500)
    llama2c("llama2c_own", llama.Case(own_output=True), 501)
    llama_hf("llama_hf", llama.Case(kv_heads=2, own_output=True, **halves), 502, torch.float32, 1)
    llama_hf("llama_shards", llama.Case(kv_heads=1, biases=True, base=500000.0, **halves), 503, torch.bfloat16, 2)
    llama_hf("llama_f64", llama.Case(**halves), 504, torch.float64, 1)
    gpt2_hf("gpt2_hf", 505)
    if len(sys.argv) > 1:
        stories(sys.argv[1])


if __name__ == "__main__":
    main()
