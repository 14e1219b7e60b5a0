"""Checks model.py and gguf_writer.py: every variant survives the way through a file, (X)+ as it is
written equals its full table, generation stops where it should.

    python3 test_model.py
"""
import os
import tempfile
import unittest

import torch

import gguf_writer
from model import DECODER, ENCODER, PARTS, VIT, Config, Model, load, position_table, randomize, save


def variants(architecture):
    """A small Config for every projection, KV head count, (X)+ and picture shape."""
    pictures = [dict()]
    if architecture == VIT:
        pictures = [dict(stem="patch", pooling="cls", labels=tuple("abc")),
                    dict(stem="conv", pooling="sequence", labels=tuple("abc"),
                         conv=((16, 3, 1, 1, 2), (32, 3, 1, 1, 3)))]
    elif architecture == ENCODER:
        pictures = [dict(classes=7)]
    for projection in PARTS:
        for kv_heads in (4,) if projection.startswith("Q=K") else (4, 2, 1):
            for channels in (0,) if architecture == DECODER else (0, 7, 10):
                for picture in pictures:
                    yield Config(architecture=architecture, width=32, feed_forward=64, layers=2,
                                 heads=4, kv_heads=kv_heads, projection=projection, context=16,
                                 vocabulary=50, position_channels=channels, **picture)


class RoundTrip(unittest.TestCase):
    def check(self, config, dtype, tolerance):
        model = Model(config)
        randomize(model, seed=1)
        model.eval()
        torch.manual_seed(1)
        inputs = (torch.randn(2, 3, 32, 32) if config.architecture == VIT
                  else torch.randint(0, config.vocabulary, (2, 9)))
        with tempfile.TemporaryDirectory() as folder, torch.no_grad():
            path = os.path.join(folder, "model.gguf")
            save(model, path, dtype)
            expected, found = model(inputs), load(path)(inputs)
        self.assertLess((expected - found).abs().max().item(), tolerance)
        self.assertGreater((expected[0] - expected[1]).abs().max().item(), 2 * tolerance)

    def test_every_variant(self):
        for architecture in (DECODER, VIT, ENCODER):
            for config in variants(architecture):
                with self.subTest(config=config):
                    self.check(config, "F32", 1e-4)

    def test_half_precision(self):
        for architecture in (DECODER, ENCODER):
            for config in variants(architecture):
                with self.subTest(config=config):
                    self.check(config, "F16", 0.05)


class Parts(unittest.TestCase):
    def test_position_term_equals_the_full_table(self):
        config = Config(architecture=ENCODER, width=32, feed_forward=64, layers=1, heads=4,
                        projection="Q=K=V", context=16, vocabulary=50, classes=7,
                        position_channels=10)
        model = Model(config)
        randomize(model, seed=3)
        attn, x = model.blocks[0].attn, torch.randn(1, 16, 32)
        rows = attn.split(attn.proj(x), 4)
        scores = rows @ rows.transpose(-1, -2) * 8 ** -0.5
        line = position_table(16, 5)
        table = torch.cat((line[:, None].expand(16, 16, 5), line[None].expand(16, 16, 5)), dim=2)
        scores = ((scores[..., None] + table) * attn.position_weight).sum(-1)
        expected = attn.out((scores.softmax(-1) @ rows).transpose(1, 2).flatten(2))
        self.assertLess((expected - attn(x, None)).abs().max().item(), 1e-5)

    def test_decoder_does_not_look_ahead(self):
        model = Model(next(variants(DECODER)))
        randomize(model, seed=1)
        tokens = torch.randint(0, 50, (1, 9))
        changed = tokens.clone()
        changed[0, 8] = (changed[0, 8] + 1) % 50
        before, after = model(tokens), model(changed)
        self.assertTrue(torch.equal(before[0, :8], after[0, :8]))
        self.assertFalse(torch.equal(before[0, 8], after[0, 8]))

    def test_generate_stops(self):
        model = Model(next(variants(DECODER)))
        randomize(model, seed=1)
        prompts = torch.randint(0, 50, (3, 4))
        longest = model.generate(prompts, stop=-1, limit=100)
        self.assertEqual([len(row) for row in longest], [12, 12, 12])
        stop = longest[0][5]
        stopped = model.generate(prompts, stop, limit=100)[0]
        self.assertEqual(stopped, longest[0][:longest[0].index(stop)])

    def test_pairs_survive(self):
        pairs = [("a", "u32", 7), ("b", "string", "Grüße"), ("c", "[f32]", [0.5, 2.0]),
                 ("d", "bool", True), ("e", "[string]", ["x", ""]), ("f", "[u32]", []),
                 ("g", "i64", -1)]
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "pairs.gguf")
            gguf_writer.write(path, pairs, {}, alignment=64)
            values, tensors = gguf_writer.read(path)
        self.assertEqual(values.pop("general.alignment"), 64)
        self.assertEqual(values, {key: value for key, _, value in pairs})
        self.assertEqual(tensors, {})


if __name__ == "__main__":
    unittest.main()
