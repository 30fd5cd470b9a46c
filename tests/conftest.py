"""Tiny language models as real pipeline directories, and small corpora."""

from pathlib import Path
from typing import Callable, Iterator, List

import pytest
import spacy
import torch
from spacy.language import Language
from spacy.tokens import DocBin
from spacy.util import load_model_from_config
from thinc.api import Config, fix_random_seed

from spacy_elmo_ulmfit.layers.awd_lstm_shim import AWDLSTMShim
from spacy_elmo_ulmfit.pretraining.corpus.corpora import TextChunk
from spacy_elmo_ulmfit.pretraining.corpus.reading import StreamReader
from spacy_elmo_ulmfit.pretraining.losses.objectives import build_vocabulary

TEXTS = [
    "Anna Kovacs lives in Rome .",
    "She works for Siemens in Berlin and likes it .",
    "The river near Rome is wide .",
    "Bob met Anna at the station .",
    "Siemens opened an office in Oslo .",
    "They drink tea and talk about the weather .",
]
NER = [
    ("Anna Kovacs lives in Rome .", [(0, 11, "PER"), (21, 25, "LOC")]),
    ("Bob works for Siemens .", [(0, 3, "PER"), (14, 21, "ORG")]),
    ("Rome is near the sea .", [(0, 4, "LOC")]),
    ("Siemens hired Anna .", [(0, 7, "ORG"), (14, 18, "PER")]),
]
CATS = [
    ("the tea was hot and sweet", "food"),
    ("a bowl of soup and bread", "food"),
    ("cake with tea again", "food"),
    ("the train leaves at noon", "travel"),
    ("we took a bus to the sea", "travel"),
    ("a night train over the border", "travel"),
]

BILM = """
[nlp]
lang = "en"
pipeline = ["elmo_tok2vec"]

[components]

[components.elmo_tok2vec]
factory = "elmo_tok2vec"

[components.elmo_tok2vec.model]
@architectures = "spacy-elmo-ulmfit.BiLM.v1"
char_dim = 4
filters = [[1,4],[2,4],[3,8]]
cell_dim = 12
projection_dim = 6
max_chars = 12
dropout = 0.1
"""

AWD_LSTM = """
[nlp]
lang = "en"
pipeline = ["awd_lstm_tok2vec"]

[components]

[components.awd_lstm_tok2vec]
factory = "awd_lstm_tok2vec"

[components.awd_lstm_tok2vec.model]
@architectures = "spacy-elmo-ulmfit.AWDLSTM.v1"
embedding_dim = 8
hidden_dim = 10
n_layers = 2
bptt = 5
"""


def create_language_model(config: str) -> Language:
    """Build a pipeline whose language model has random weights and real words."""
    fix_random_seed(0)
    nlp = load_model_from_config(Config().from_str(config), auto_fill=True)
    _, pipe = nlp.pipeline[-1]
    tokenizer = None
    if isinstance(pipe.shim, AWDLSTMShim):
        tokenizer = pipe.shim.create_tokenizer(nlp.lang)
    stream = StreamReader(lambda: nlp, pipe.name)(TextChunk(TEXTS))
    vocabulary = build_vocabulary(stream.counts(), tokenizer, max_size=0, min_freq=1)
    module = pipe.shim.create(vocabulary, n_words=len(vocabulary))
    with torch.no_grad():
        for name, buffer in module.named_buffers():
            if name.startswith("warm"):
                buffer.normal_()
    return nlp


@pytest.fixture
def two_threads() -> Iterator[None]:
    """PyTorch computes on two threads while a test runs."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def elmo_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("elmo") / "pipeline"
    create_language_model(BILM).to_disk(path)
    return path


@pytest.fixture(scope="session")
def awd_lstm_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("awd_lstm") / "pipeline"
    create_language_model(AWD_LSTM).to_disk(path)
    return path


@pytest.fixture(scope="session")
def backward_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("backward") / "pipeline"
    create_language_model(AWD_LSTM + 'direction = "backward"\n').to_disk(path)
    return path


@pytest.fixture
def elmo(elmo_path: Path) -> Language:
    return spacy.load(elmo_path)


@pytest.fixture
def awd_lstm(awd_lstm_path: Path) -> Language:
    return spacy.load(awd_lstm_path)


@pytest.fixture(scope="session")
def ner_corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    nlp = spacy.blank("en")
    docs = []
    for text, entities in NER:
        doc = nlp.make_doc(text)
        doc.set_ents([doc.char_span(s, e, label=label) for s, e, label in entities])
        docs.append(doc)
    path = tmp_path_factory.mktemp("ner") / "corpus.spacy"
    DocBin(docs=docs).to_disk(path)
    return path


@pytest.fixture(scope="session")
def textcat_corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    nlp = spacy.blank("en")
    docs = []
    for text, label in CATS:
        doc = nlp.make_doc(text)
        doc.cats = {name: float(name == label) for name in ("food", "travel")}
        docs.append(doc)
    path = tmp_path_factory.mktemp("textcat") / "corpus.spacy"
    DocBin(docs=docs).to_disk(path)
    return path


@pytest.fixture
def write_text(tmp_path: Path) -> Callable[[List[str]], Path]:
    def write(lines: List[str]) -> Path:
        path = tmp_path / "text.txt"
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return path

    return write
