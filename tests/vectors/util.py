"""Pipelines whose vectors are written to files."""

from pathlib import Path

import torch

from ..pipeline.util import load, tagged, tagger

TEXTS = [
    "Anna lives in Rome .",
    "",
    "a/b : c",
    "Anna lives in Rome .",
    "\n\n",
    "é 東京",
]
# What the tagger has learnt: the mix's weights before the softmax, and gamma.
LEARNT = ([1.0, -1.0, 0.5], 3.0)


def write_tagger(elmo_path: Path, path: Path) -> Path:
    """Write a pipeline with a tagger that has a mix of its own."""
    nlp = load({"elmo_tok2vec": {"source": str(elmo_path)}, "tagger": tagger()})
    with nlp.select_pipes(disable=["elmo_tok2vec"]):
        nlp.initialize(lambda: tagged(nlp))
    (listener,) = nlp.get_pipe("elmo_tok2vec").listeners
    mix = listener.layers[0].shims[0].module
    with torch.no_grad():
        mix.weights.copy_(torch.tensor(LEARNT[0]))
        mix.gamma.fill_(LEARNT[1])
    nlp.to_disk(path)
    return path


def write_two(elmo_path: Path, awd_lstm_path: Path, path: Path) -> Path:
    """Write a pipeline with two language models."""
    sources = {"elmo_tok2vec": elmo_path, "awd_lstm_tok2vec": awd_lstm_path}
    load({name: {"source": str(source)} for name, source in sources.items()}).to_disk(
        path
    )
    return path
