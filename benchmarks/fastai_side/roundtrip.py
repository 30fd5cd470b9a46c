"""The part of `fastai_roundtrip.py` that needs fastai; it knows nothing of this project.

python roundtrip.py make FOLDER DATA
python roundtrip.py check FOLDER
"""

import json
import pickle
import sys
import warnings
from pathlib import Path
from typing import Any, Dict, List, Tuple

import fastai
import numpy
import pandas
import torch
from fastai.text.all import (
    AWD_LSTM,
    ShortEpochCallback,
    TextDataLoaders,
    awd_lstm_clas_config,
    awd_lstm_lm_config,
    language_model_learner,
    set_seed,
    text_classifier_learner,
)

N_TEXTS, BATCH_SIZE, SEQUENCE = 60, 8, 24
# Weights and running statistics must differ from the initial ones, no more.
SHARE_OF_EPOCH = 0.2
# The published sizes.
LM_CONFIG, CLASSIFIER_CONFIG = dict(awd_lstm_lm_config), dict(awd_lstm_clas_config)


def make(folder: Path, data: Path) -> None:
    """Train both models for a moment; save them, and what they compute."""
    set_seed(0, reproducible=True)
    train, test = (read(data / f"{part}.jsonl") for part in ("train", "test"))
    learn = lm_learner(train)
    learn.fit_one_cycle(1, 1e-2, cbs=ShortEpochCallback(SHARE_OF_EPOCH))
    texts = list(test["text"][:N_TEXTS])
    ids = learn.dls.train.one_batch()[0][:4].cpu()
    logits, top = read_text(learn.model, ids)
    save(learn, folder / "lm.pth")
    learn.model_dir = folder
    learn.save_encoder("encoder")
    vocab = list(learn.dls.vocab)
    classifier = classifier_learner(train, vocab)
    classifier.model[0].module.load_state_dict(learn.model[0].state_dict())
    classifier.fit_one_cycle(1, 1e-2, cbs=ShortEpochCallback(SHARE_OF_EPOCH))
    save(classifier, folder / "classifier.pth")
    for name in ("lm", "encoder", "classifier"):
        (folder / f"{name}.pkl").write_bytes(pickle.dumps(vocab))
    train.to_json(folder / "train.jsonl", orient="records", lines=True)
    documents = [document(classifier, text) for text in texts]
    results = [classify(classifier.model, ids) for ids in documents]
    scores, raw = (numpy.stack(part) for part in zip(*results))
    numpy.savez(
        folder / "made.npz",
        ids=ids.numpy(),
        logits=logits,
        top=top,
        scores=scores,
        classifier_logits=raw,
    )
    sizes = {name: LM_CONFIG[name] for name in ("emb_sz", "n_hid", "n_layers")}
    made = {
        "versions": {"fastai": fastai.__version__, "torch": torch.__version__},
        "sizes": {**sizes, "n_words": len(vocab)},
        "labels": [str(label) for label in classifier.dls.vocab[1]],
        "texts": texts,
        "ids": [ids.tolist() for ids in documents],
    }
    (folder / "made.json").write_text(json.dumps(made), encoding="utf-8")


def check(folder: Path) -> None:
    """Read what was exported by fastai's loaders, and compare."""
    made = json.loads((folder / "made.json").read_text("utf-8"))
    expected = numpy.load(folder / "made.npz")
    train = pandas.read_json(folder / "train.jsonl", orient="records", lines=True)
    ids = torch.from_numpy(expected["ids"])
    exported = folder / "lm_exported"
    errors: Dict[str, float] = {}
    for loader in ("load", "load_pretrained", "load_encoder"):
        set_seed(1)
        learn = lm_learner(train)
        learn.path, learn.model_dir = exported, "."
        if loader == "load":
            learn.load("model", with_opt=False)
        elif loader == "load_pretrained":
            learn.load_pretrained(exported / "model.pth", exported / "vocab.pkl")
        else:
            learn.path = folder / "encoder_exported"
            learn.load_encoder("encoder")
        logits, top = read_text(learn.model, ids)
        found, wanted = logits, expected["logits"]
        if loader == "load_pretrained":
            # It gives every xxfake the row of the last one; none is ever read.
            words = numpy.array(list(learn.dls.vocab)) != "xxfake"
            found, wanted = found[:, :, words], wanted[:, :, words]
        if loader == "load_encoder":
            found, wanted = top, expected["top"]
        errors[loader] = largest(found, wanted)
    vocab = pickle.loads((folder / "classifier_exported" / "vocab.pkl").read_bytes())
    learn = classifier_learner(train, vocab)
    learn.path, learn.model_dir = folder / "classifier_exported", "."
    learn.load("model", with_opt=False)
    documents = [torch.tensor(ids) for ids in made["ids"]]
    results = [classify(learn.model, ids) for ids in documents]
    scores, logits = (numpy.stack(part) for part in zip(*results))
    errors["classifier"] = largest(scores, expected["scores"])
    errors["classifier logits"] = largest(logits, expected["classifier_logits"])
    (folder / "checked.json").write_text(json.dumps(errors), encoding="utf-8")


def read(path: Path) -> Any:
    """Read texts and labels."""
    return pandas.read_json(path, orient="records", lines=True)


def lm_learner(train: Any) -> Any:
    """Return a learner of a language model with random weights."""
    dls = TextDataLoaders.from_df(
        train,
        text_col="text",
        is_lm=True,
        valid_pct=0.1,
        seed=0,
        bs=BATCH_SIZE,
        seq_len=SEQUENCE,
    )
    return language_model_learner(dls, AWD_LSTM, config=LM_CONFIG, pretrained=False)


def classifier_learner(train: Any, vocab: List[str]) -> Any:
    """Return a learner of a classifier with random weights."""
    dls = TextDataLoaders.from_df(
        train,
        text_col="text",
        label_col="label",
        text_vocab=vocab,
        valid_pct=0.1,
        seed=0,
        bs=BATCH_SIZE,
    )
    return text_classifier_learner(
        dls, AWD_LSTM, config=CLASSIFIER_CONFIG, pretrained=False
    )


def save(learn: Any, path: Path) -> None:
    """Save weights alone, by the learner's own method."""
    learn.path, learn.model_dir = path.parent, "."
    learn.save(path.stem, with_opt=False)


def document(learn: Any, text: str) -> Any:
    """Return the ids of a text, as the data set's own pipeline makes them."""
    loader = learn.dls.test_dl(pandas.DataFrame({"text": [text]}))
    return torch.tensor(loader.dataset[0][0].cpu())


def read_text(model: Any, ids: Any) -> Tuple[Any, Any]:
    """Return logits and the top layer of texts, from zero states."""
    model.eval()
    model.reset()
    with torch.no_grad():
        logits, raw, _ = model(ids)
    return logits.numpy(), raw.numpy()


def classify(model: Any, ids: Any) -> Tuple[Any, Any]:
    """Return scores and logits of one document."""
    model.eval()
    model.reset()
    with torch.no_grad():
        logits = model(ids.unsqueeze(0))[0][0]
    return logits.softmax(dim=0).numpy(), logits.numpy()


def largest(found: Any, expected: Any) -> float:
    """Return the largest absolute difference."""
    return float(numpy.abs(found - expected).max())


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    if sys.argv[1] == "make":
        make(Path(sys.argv[2]), Path(sys.argv[3]))
    else:
        check(Path(sys.argv[2]))
