"""bilm-tf's own training check: small models must learn a text of four lines by heart.

The sizes are those of bilm-tf's `tests/test_training.py`; its text is read from
`fixtures/elmo/bilm-tf/train` of the folder that SEU_DATA names.
"""

import os
from pathlib import Path

import pytest
import spacy
from spacy.tokens import Doc, DocBin
from thinc.api import Config

from spacy_elmo_ulmfit.pretraining.setup import setup_pretraining

OWN_TEXT = [
    "the cat sat on the mat and the dog sat on the cat .",
    "a dog is a dog and a cat is a cat , said the cat .",
    "she said that the dog and the cat sat on a mat .",
    "the mat is on the dog , is it ?",
] * 2
CHARACTERS = {
    "char_dim": 4,
    "filters": [[1, 8], [2, 8], [3, 16], [4, 32], [5, 64]],
    "n_highway": 1,
    "activation": "tanh",
    "max_chars": 10,
}
WORDS = {"filters": [], "word_dim": 8}
VARIANTS = {
    "words, forward": {**WORDS, "bidirectional": False, "residual": False},
    "characters": {**CHARACTERS, "residual": False},
    "words, tied softmax": {**WORDS, "tie_softmax": True, "residual": False},
    "words, residual": {**WORDS, "residual": True},
}
CONFIG = """
[nlp]
lang = "en"
pipeline = ["elmo_tok2vec"]

[components]

[components.elmo_tok2vec]
factory = "elmo_tok2vec"

[components.elmo_tok2vec.model]
@architectures = "spacy-elmo-ulmfit.BiLM.v1"
cell_dim = 16
projection_dim = 8
n_layers = 2
cell_clip = 1.0
proj_clip = 1.0
dropout = 0.1

[corpora]

[corpora.train]
@readers = "spacy.Corpus.v1"
path = "text.spacy"

[corpora.dev]
@readers = "spacy.Corpus.v1"
path = "text.spacy"

[lm]
component = "elmo_tok2vec"
batch_size = 2
bptt = 10
max_epochs = 50
max_steps = 0
eval_frequency = 1000
min_freq = 1
learn_rate = 0.2
# bilm-tf multiplies its loss by bptt: its accumulator is 1.0, its bound 10.0.
max_grad_norm = 1.0

[lm.optimizer]
@optimizers = "spacy-elmo-ulmfit.TorchAdagrad.v1"
initial_accumulator = 0.01

[lm.logger]
@loggers = "spacy-elmo-ulmfit.LMConsoleLogger.v1"
progress_bar = false
"""


def texts():
    folder = Path(os.environ.get("SEU_DATA", "")) / "fixtures/elmo/bilm-tf/train"
    published = None, None
    if "SEU_DATA" in os.environ and folder.exists():
        lines = (folder / "data.txt").read_text(encoding="utf8").splitlines()
        published = lines, folder / "vocab.txt"
    return {"own": (OWN_TEXT, None), "published": published}


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("name", ["own", "published"])
def test_a_small_text_is_learnt_by_heart(variant, name, tmp_path):
    lines, vocab_file = texts()[name]
    if lines is None:
        pytest.skip("SEU_DATA is not set, or has no text of bilm-tf")
    vocab = spacy.blank("en").vocab
    docs = [Doc(vocab, words=line.split()) for line in lines if line.strip()]
    DocBin(docs=docs).to_disk(tmp_path / "text.spacy")
    config = Config().from_str(CONFIG)
    if vocab_file is not None:
        config["lm"]["vocab_file"] = str(vocab_file)
    config["components"]["elmo_tok2vec"]["model"].update(VARIANTS[variant])
    for part in ("train", "dev"):
        config["corpora"][part]["path"] = str(tmp_path / "text.spacy")
    metrics = setup_pretraining(config, tmp_path / "run").train()
    assert metrics["perplexity"] < min(20, metrics["unigram_perplexity"])
    assert vocab_file is None or metrics["n_words"] == 32
    assert ("perplexity_backward" in metrics) == ("forward" not in variant)
    nlp = spacy.load(tmp_path / "run" / "model-best")
    width = 8 if "forward" in variant else 16
    assert nlp(docs[0].text)._.elmo.layers.shape == (3, len(docs[0]), width)
