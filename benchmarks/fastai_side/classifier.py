"""The part of `classifier_speed.py` that needs fastai; it knows nothing of this project.

python classifier.py make FOLDER
python classifier.py TASK FOLDER

`make` builds a classifier with random weights and saves it, its words and its scores of
single texts. TASK does one step for each line on standard input, which is the step's
number, and prints how long it took.
"""

import json
import os
import pickle
import resource
import sys
import time
import warnings
from pathlib import Path
from typing import Any, Callable, Dict, List, Tuple

import fastai
import pandas
import torch
from fastai.callback.core import Callback, CancelFitException
from fastai.data.core import DataLoaders
from fastai.data.load import DataLoader
from fastai.text.all import (
    AWD_LSTM,
    TextDataLoaders,
    WordTokenizer,
    awd_lstm_clas_config,
    text_classifier_learner,
    tokenize_texts,
)
from fastai.text.data import pad_chunk

PADDING = 1


def make(folder: Path) -> None:
    """Build the classifier, save it, and score the texts of the comparison."""
    settings = read(folder / "settings.json")
    texts = read(folder / "texts.json")
    tokens = tokenize_texts(texts, n_workers=0, tok=WordTokenizer("en"))
    words = dict.fromkeys(word for text in tokens for word in text)
    vocab = [*dict.fromkeys(fastai.text.core.defaults.text_spec_tok), *words]
    vocab = list(dict.fromkeys(vocab))[: settings["n_words"]]
    vocab += [f"word-{i}" for i in range(settings["n_words"] - len(vocab))]
    (folder / "vocab.pkl").write_bytes(pickle.dumps(vocab))
    learn = learner(folder)
    # Documents must differ: batch norms magnify what little random ones differ by.
    torch.manual_seed(0)
    torch.nn.init.normal_(learn.model[0].module.encoder.weight)
    for norm in learn.model[1].modules():
        if hasattr(norm, "running_mean"):
            torch.nn.init.uniform_(norm.running_mean, -0.1, 0.1)
            torch.nn.init.uniform_(norm.running_var, 0.01, 0.1)
    learn.model_dir = "."
    learn.save("classifier", with_opt=False)
    chosen = texts[: settings["n_compared"]]
    scores = [predict(learn, text) for text in chosen]
    made = {
        "fastai": fastai.__version__,
        "torch": torch.__version__,
        "labels": [str(label) for label in learn.dls.vocab[1]],
        "scores": scores,
        "batch_scores": predict_batch(learn, chosen),
        "tokens": [list(text) for text in tokens],
    }
    (folder / "made.json").write_text(json.dumps(made), encoding="utf-8")


def serve(task: str, folder: Path) -> None:
    """Do one step after the other."""
    settings = read(folder / "settings.json")
    if task == "train":
        train(folder, settings)
        return
    step = STEPS[task](folder)
    say({"fastai": fastai.__version__})
    size = settings["n_docs"]
    texts = read(folder / "texts.json")
    for line in sys.stdin:
        start = int(line) * size
        chunk = texts[start : start + size]
        started, busy = time.perf_counter(), cpu_time()
        step(chunk)
        say_times(started, busy)
    say({"peak_mb": peak_memory()})


def tokenizing(folder: Path) -> Callable[[List[str]], Any]:
    """Return what tokenizes texts in this process."""
    tokenizer = WordTokenizer("en")
    return lambda texts: list(tokenize_texts(texts, n_workers=0, tok=tokenizer))


def batches(folder: Path) -> Callable[[List[str]], Any]:
    """Return what scores texts together."""
    learn = loaded(folder)
    return lambda texts: predict_batch(learn, texts)


def singles(folder: Path) -> Callable[[List[str]], Any]:
    """Return what scores texts one by one."""
    learn = loaded(folder)
    return lambda texts: [predict(learn, text) for text in texts]


STEPS = {"tokenize": tokenizing, "pipe": batches, "single": singles}


class StepByStep(Callback):
    """Waits for a line before each batch, and tells what the batch took."""

    order = -100

    def before_batch(self) -> None:
        """Wait; end the training where there are no more lines."""
        if not sys.stdin.readline():
            raise CancelFitException
        self.started, self.busy = time.perf_counter(), cpu_time()

    def after_batch(self) -> None:
        """Print what it took."""
        say_times(self.started, self.busy)


def train(folder: Path, settings: Dict[str, Any]) -> None:
    """Train on the batches of the comparison until standard input ends."""
    learn = loaded(folder)
    vocab = {word: i for i, word in enumerate(learn.dls.vocab[0])}
    tokenizer = WordTokenizer("en")
    texts, labels = read(folder / "texts.json"), read(folder / "labels.json")
    size = settings["n_docs"]
    items: List[Tuple[Any, Any]] = []
    for start in range(0, len(texts), size):
        tokens = tokenize_texts(texts[start : start + size], n_workers=0, tok=tokenizer)
        ids = [torch.tensor([vocab.get(word, 0) for word in text]) for text in tokens]
        # As its data loaders: the longest first, whole windows of padding in front.
        lengths = [len(text) for text in ids]
        order = sorted(range(len(ids)), key=lengths.__getitem__, reverse=True)
        longest = len(ids[order[0]])
        padded = [
            pad_chunk(ids[i], PADDING, seq_len=settings["bptt"], pad_len=longest)
            for i in order
        ]
        truths = [labels[start + i] for i in order]
        items.append((torch.stack(padded), torch.tensor(truths)))
    loader = DataLoader(items, bs=None, num_workers=0)
    learn.dls = DataLoaders(loader, loader)
    learn.add_cb(StepByStep())
    if settings["frozen"]:
        learn.freeze()
    else:
        learn.unfreeze()
    say({"fastai": fastai.__version__})
    with learn.no_bar(), learn.no_logging():
        learn.fit(1, lr=1e-3)
    say({"peak_mb": peak_memory()})


def learner(folder: Path) -> Any:
    """Return a learner of a classifier with random weights."""
    settings = read(folder / "settings.json")
    texts = read(folder / "texts.json")[:8]
    frame = pandas.DataFrame({"text": texts, "label": ["a", "b"] * 4})
    dls = TextDataLoaders.from_df(
        frame,
        text_col="text",
        label_col="label",
        text_vocab=pickle.loads((folder / "vocab.pkl").read_bytes()),
        valid_pct=0.25,
        seed=0,
        bs=settings["batch_size"],
        seq_len=settings["bptt"],
    )
    sizes = {name: settings[name] for name in ("emb_sz", "n_hid", "n_layers")}
    learn = text_classifier_learner(
        dls,
        AWD_LSTM,
        seq_len=settings["bptt"],
        max_len=settings["max_len"],
        config={**awd_lstm_clas_config, **sizes},
        pretrained=False,
    )
    learn.path = folder
    return learn


def loaded(folder: Path) -> Any:
    """Return the learner with the weights that were saved."""
    learn = learner(folder)
    learn.model_dir = "."
    learn.load("classifier", with_opt=False)
    return learn


def predict(learn: Any, text: str) -> List[float]:
    """Return the scores of one text."""
    with learn.no_bar(), learn.no_logging():
        return learn.predict(text)[2].tolist()


def predict_batch(learn: Any, texts: List[str]) -> List[List[float]]:
    """Return the scores of texts, as of a test set."""
    loader = learn.dls.test_dl(pandas.DataFrame({"text": texts}))
    with learn.no_bar(), learn.no_logging():
        return learn.get_preds(dl=loader)[0].tolist()


def read(path: Path) -> Any:
    """Read a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


def say(line: Dict[str, Any]) -> None:
    """Print a line of JSON."""
    print(json.dumps(line), flush=True)


def say_times(started: float, busy: float) -> None:
    """Print how long it has been."""
    seconds = time.perf_counter() - started
    say({"seconds": seconds, "cpu_seconds": cpu_time() - busy})


def cpu_time() -> float:
    """Return the processor time of this process and of those it has waited for."""
    return sum(os.times()[:4])


def peak_memory() -> float:
    """Return the most memory that this process has had, in megabytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    if sys.argv[1] == "make":
        make(Path(sys.argv[2]))
    else:
        serve(sys.argv[1], Path(sys.argv[2]))
