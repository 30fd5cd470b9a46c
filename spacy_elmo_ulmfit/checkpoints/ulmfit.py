"""Published AWD-LSTMs and ULMFiT classifiers of every kind, as native checkpoints."""

import json
from dataclasses import asdict, replace
from pathlib import Path, PurePosixPath
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple

import torch
from torch import Tensor

from ..modules.awd_lstm import AWDLSTM, BACKWARD, FORWARD, QRNN, AWDLSTMConfig
from ..modules.classifier import ClassifierConfig, ULMFiTClassifier
from .fastai import AWD_LSTM_LM, V07, V1, V2, FastaiModel, read_fastai
from .fastai_head import Head
from .files import (
    CombinedFiles,
    FolderFiles,
    SourceFiles,
    absolute_name,
    find_names,
    find_only,
    full_name,
    open_source,
    read_bytes,
)
from .native import Checkpoint
from .options import WordList
from .pickles import load_state_dict
from .word_lists import name_repeated, read_word_list, repeated_words

MULTIFIT = "multifit"
SENTENCEPIECE_TOKENS = "spm"
# The name that the tokenizer of these rules has for its model.
_SENTENCEPIECE = "sentencepiece"

_TOKENS = {V07: "v0.7", V1: "v1", V2: "v2", AWD_LSTM_LM: "words"}
_WEIGHTS_FILES = ("*.pth", "*.h5", "*.pt")
# What MultiFiT and `lm export` write beside the whole model.
_ENCODERS = ("enc_best.pth", "encoder.pth")
_MULTIFIT_LM, _MULTIFIT_CLASSIFIER = "lm_best.pth", "cls_best.pth"
_MULTIFIT_DESCRIPTIONS = (
    "pretraining.json",
    "finetuning.json",
    "classifier.json",
    "info.json",
)
_VOCABULARIES = tuple(
    f"{stem}.{suffix}"
    for suffix in ("pkl", "json", "txt")
    for stem in ("itos*", "*itos*", "*vocab*")
)
_UNKNOWN = ("xxunk", "_unk_", "<unk>")
_PADDING = ("xxpad", "_pad_", "\u2581xxpad", "<pad>")
# How MultiFiT's language models were trained.
_MULTIFIT_DROPOUTS: Dict[str, Any] = {
    "input_dropout": 0.2,
    "hidden_dropout": 0.1,
    "output_dropout": 0.25,
    "embedding_dropout": 0.02,
    "weight_dropout": 0.15,
}
# fastai v2 reads documents in windows of 72, and 20 of them; what came before, of 70.
_BPTT, _BPTT_V2, _MAX_WINDOWS = 70, 72, 20
_DIRECTIONS = {
    "bwd": BACKWARD,
    "backward": BACKWARD,
    "fwd": FORWARD,
    "forward": FORWARD,
}


class ImportedULMFiT(NamedTuple):
    """A published AWD-LSTM, or a classifier on one.

    format (str): `"fastai-v0.7"`, `"fastai-v1"`, `"fastai-v2"`, `"multifit"` or
        `"awd-lstm-lm"`.
    checkpoint (Checkpoint): The model. Its `extra` has the vocabulary, but no tokenizer;
        its `extra_tensors` have the bytes of the SentencePiece model, if there is one.
    tokens (str): Name of the rules that its text was tokenised by.
    has_decoder (bool): Whether the file holds a language model that predicts words.
    notes (List[str]): What the user should know.
    """

    format: str
    checkpoint: Checkpoint
    tokens: str
    has_decoder: bool
    notes: List[str]


def read_ulmfit(
    source: Path,
    *,
    vocab: Optional[Path] = None,
    tokens: Optional[str] = None,
    labels: Sequence[str] = (),
    direction: str = FORWARD,
) -> ImportedULMFiT:
    """Read a published model; what kind it is follows from the names of its tensors.

    source (Path): The weights file, or a folder or an archive with it. Vocabulary and
        SentencePiece model may lie beside it.
    vocab (Optional[Path]): The vocabulary, if it does not.
    tokens (Optional[str]): Name of token rules; by default those of the model's time.
    labels (Sequence[str]): A classifier's labels, in its order.
    direction (str): `"forward"`, or `"backward"` for a model that was trained to read
        text from its end.
    RETURNS (ImportedULMFiT): The model.
    RAISES (ValueError): If it cannot be read, saying which file is wrong and how.
    """
    files, name = _open(source, vocab)
    name = name or _find_weights(files, labels)
    shown = full_name(files, name)
    with files.open(name) as handle:
        model = read_fastai(load_state_dict(handle, shown, wrapper="model"), shown)
    _check_description(files, model, shown)
    _check_labels(model, labels, shown)
    words = _read_words(files, vocab, model, shown)
    form = _format(model, words.words)
    if tokens is None:
        tokens = SENTENCEPIECE_TOKENS if _has_pieces(words.words) else _TOKENS[form]
    if model.config.rnn == QRNN and form == V1:
        form = MULTIFIT
        model = model._replace(config=replace(model.config, **_MULTIFIT_DROPOUTS))
    notes = [
        *model.notes,
        *_word_notes(words),
        *_direction_notes([PurePosixPath(name).name, source.name], direction),
    ]
    checkpoint = _checkpoint(model, words, tokens, direction)
    if tokens == SENTENCEPIECE_TOKENS:
        checkpoint.extra_tensors[_SENTENCEPIECE] = _read_sentencepiece(files, words)
    return ImportedULMFiT(
        format=form,
        checkpoint=checkpoint,
        tokens=tokens,
        has_decoder=model.decoder_bias is not None,
        notes=notes,
    )


def _open(source: Path, vocab: Optional[Path]) -> Tuple[SourceFiles, Optional[str]]:
    """Return the files, and which of them the source is if it is one of them."""
    files, name = open_source(source), None
    if source.is_file() and isinstance(files, FolderFiles):
        beside = sorted(path for path in source.parent.iterdir() if path.is_file())
        files = FolderFiles(source.parent, {path.name: path for path in beside})
        name = source.name
    if vocab is None:
        return files, name
    open_source(vocab)
    return CombinedFiles(files, [vocab]), name


def _find_weights(files: SourceFiles, labels: Sequence[str]) -> str:
    found = find_names(files, *_WEIGHTS_FILES)
    if not found:
        raise ValueError(
            f"{files.path} ({', '.join(files.names[:3]) or 'empty'}) holds no weights of an "
            f"AWD-LSTM: none of {', '.join(_WEIGHTS_FILES)}. A learner that learn.export "
            "wrote cannot be read: save its weights by learn.save('NAME', with_opt=False)."
        )
    others = (*_ENCODERS, _MULTIFIT_LM if labels else _MULTIFIT_CLASSIFIER)
    found = [n for n in found if PurePosixPath(n).name not in others] or found
    if len(found) > 1:
        raise ValueError(
            f"{files.path} has several files that could be meant ({', '.join(found[:4])}). "
            "Give one of them as SOURCE."
        )
    return found[0]


def _check_description(files: SourceFiles, model: FastaiModel, name: str) -> None:
    """Compare the weights with what MultiFiT's JSON beside them says."""
    is_qrnn = model.config.rnn == QRNN
    for described_by in files.names:
        if PurePosixPath(described_by).name not in _MULTIFIT_DESCRIPTIONS:
            continue
        try:
            values = json.loads(read_bytes(files, described_by))
        except ValueError:
            continue
        values = values.get("arch", values) if isinstance(values, dict) else {}
        said = values.get("qrnn") if isinstance(values, dict) else None
        if isinstance(said, bool) and said != is_qrnn:
            raise ValueError(
                f"{full_name(files, described_by)} has qrnn = {str(said).lower()}, but the "
                f"layers in {name} are {'QRNNs' if is_qrnn else 'LSTMs'}. Do the two files "
                "belong together?"
            )


def _check_labels(model: FastaiModel, labels: Sequence[str], name: str) -> None:
    if model.head is None and labels:
        raise ValueError(
            f"{name} holds a language model, which has no labels. Leave --labels out, or "
            "give the weights of a classifier."
        )
    if model.head is not None and len(labels) != model.head.n_labels:
        raise ValueError(
            f"{name} holds a classifier of {model.head.n_labels} labels, but "
            f"{len(labels)} were given. Name them by --labels, with commas between them, in "
            "the order of the classifier (learn.dls.vocab[1], learn.data.classes)."
        )
    if len(set(labels)) != len(labels):
        raise ValueError(f"--labels names a label twice: {', '.join(labels)}.")


def _read_words(
    files: SourceFiles, vocab: Optional[Path], model: FastaiModel, name: str
) -> WordList:
    found = None if vocab is None else absolute_name(vocab)
    found = found or find_only(files, "--vocab", *_VOCABULARIES, "*.vocab")
    if found is None:
        raise ValueError(
            f"{name} comes without its vocabulary, which says whose vectors it holds. "
            "Give the one saved with it (itos.pkl, vocab.pkl) by --vocab."
        )
    words = read_word_list(files, found)
    if len(words.words) != model.config.n_words:
        raise ValueError(
            f"{words.name} has {len(words.words)} words, but {name} has vectors of "
            f"{model.config.n_words}. Give the vocabulary that was saved with these "
            "weights by --vocab."
        )
    if not set(_UNKNOWN) & set(words.words):
        raise ValueError(
            f"{words.name} has no word for unknown ones (none of {', '.join(_UNKNOWN)}). It "
            f"must be the vocabulary that {name} was trained with."
        )
    return words


def _has_pieces(words: Sequence[str]) -> bool:
    """Whether the words are SentencePiece's: it marks the beginnings of words."""
    marked = [word for word in words if word.startswith("\u2581")]
    # Where words are not set apart, as in Japanese, few pieces but fastai's words are.
    return "\u2581xxbos" in marked or len(marked) > len(words) / 10


def _read_sentencepiece(files: SourceFiles, words: WordList) -> Tensor:
    name = find_only(files, "SOURCE", "spm.model", "*.model")
    if name is None:
        raise ValueError(
            f"The token rules '{SENTENCEPIECE_TOKENS}' need the SentencePiece model that the "
            f"words of {words.name} come from. Put it (spm.model) beside the weights."
        )
    return torch.frombuffer(bytearray(read_bytes(files, name)), dtype=torch.uint8)


def _format(model: FastaiModel, words: List[str]) -> str:
    """Return whose model it is; the order of the special words says more than names do."""
    places = {word: row for row, word in reversed(list(enumerate(words)))}
    if "_unk_" in places:
        return V07
    if "xxmaj" in places and "xxrep" in places:
        return V1 if places["xxmaj"] < places["xxrep"] else V2
    return model.layout


def _word_notes(words: WordList) -> List[str]:
    notes = []
    repeated = repeated_words(words.words)
    if repeated:
        notes.append(
            f"{words.name} has {len(repeated)} words more than once "
            f"({', '.join(repeated[:3])}). The last one counts, as in fastai."
        )
    row = AWDLSTMConfig(n_words=0).padding_idx
    if words.words[row : row + 1] and words.words[row] not in _PADDING:
        notes.append(
            f"{words.name} has {words.words[row]!r} where fastai has the word for padding. "
            "In training it is learnt as a prediction, not as an input."
        )
    return notes


def _direction_notes(names: Sequence[str], direction: str) -> List[str]:
    """Say so where a name contradicts the direction."""
    for name in names:
        said = [d for part, d in _DIRECTIONS.items() if part in name.lower()]
        if said and direction not in said:
            return [
                f"{name} is a {said[0]} model by its name, but was imported as a "
                f"{direction} one. If that is wrong, import it again "
                f"{'with' if said[0] == BACKWARD else 'without'} --backward."
            ]
    return []


def _checkpoint(
    model: FastaiModel, words: WordList, tokens: str, direction: str
) -> Checkpoint:
    config = replace(model.config, direction=direction, decoder=model.head is None)
    # SentencePiece has an unknown piece of its own, behind fastai's words.
    unknown = _UNKNOWN[::-1] if tokens == SENTENCEPIECE_TOKENS else _UNKNOWN
    vocabulary = {
        "unknown": _find_word(unknown, words.words),
        "words": name_repeated(words.words),
        "counts": [0] * len(words.words),
    }
    extra = {"vocabulary": vocabulary}
    if model.head is None:
        bias = model.decoder_bias
        if bias is None:
            bias = torch.zeros(config.n_words)
        state = {**model.encoder, "decoder_bias": bias}
        return Checkpoint(AWDLSTM.kind, asdict(config), state, extra, {})
    state = {f"encoder.{name}": tensor for name, tensor in model.encoder.items()}
    state.update({f"head.{name}": tensor for name, tensor in model.head.state.items()})
    settings = {**asdict(_classifier_config(model.head)), "encoder": asdict(config)}
    return Checkpoint(ULMFiTClassifier.kind, settings, state, extra, {})


def _classifier_config(head: Head) -> ClassifierConfig:
    bptt = _BPTT_V2 if head.layout == V2 else _BPTT
    return ClassifierConfig(
        n_labels=head.n_labels,
        hidden_dim=head.hidden_dim,
        bptt=bptt,
        max_len=_MAX_WINDOWS * bptt,
    )


def _find_word(candidates: Sequence[str], words: Sequence[str]) -> Optional[str]:
    return next((word for word in candidates if word in words), None)
