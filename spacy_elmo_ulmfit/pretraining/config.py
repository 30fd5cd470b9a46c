"""The `[lm]` block of a language model config."""

from pathlib import Path
from typing import Any, Callable, Iterable, Literal, Optional, Union, cast

import torch
from pydantic import BaseModel, ConfigDict, Field
from spacy.language import Language
from spacy.util import dot_to_object, registry
from thinc.api import Config, get_torch_default_device

from .steps.precision import check_machine, multiplies_bfloat16

_REQUIRED = ("component", "batch_size", "bptt", "max_steps", "optimizer", "learn_rate")


class DistillationConfig(BaseModel):
    """How much of a teacher's predictions a model learns.

    weight (float): Weight of the divergence from the teacher, from 0 to 1; the rest is
        that of the words themselves.
    temperature (float): Above 1 the teacher's unlikely words count more.
    """

    weight: float = Field(0.5, ge=0.0, le=1.0)
    temperature: float = Field(2.0, gt=0.0)

    model_config = ConfigDict(extra="forbid")


class LMConfig(BaseModel):
    """Settings of language model training.

    component (str): Name of the language model's component in the pipeline.
    train_corpus (str): Path in the config to the training text.
    dev_corpus (str): Path in the config to the held-out text.
    logger (Callable): A logger of spaCy's protocol.
    optimizer (Callable): Builds a torch optimizer from parameter groups.
    learn_rate (Union[float, Iterable[float]]): Rate of every step, or one for all.
    max_steps (int): Steps to train for, 0 for no limit.
    max_epochs (int): Passes over the text to train for, 0 for no limit.
    eval_frequency (int): Steps between evaluations on the held-out text.
    checkpoint_frequency (int): Steps between checkpoints to resume from.
    keep_checkpoints (int): Newest checkpoints to keep.
    patience (int): Steps without a better perplexity after which to stop, 0 for never.
    batch_size (int): Rows of text read side by side (per direction).
    bptt (int): Tokens per row and step; gradients do not reach further.
    rows (str): `"stream"` for rows of contiguous text, whose state is carried on, or
        `"sentences"` for whole sentences of like length (an AWD-LSTM: whole documents),
        each from zeros, about `batch_size` times `bptt` tokens at a time.
    variable_bptt (bool): Whether the length of windows varies around `bptt`, as that of
        AWD-LSTM's does.
    reset_probability (float): Share of the rows that start anew from zeros at each
        step. A model whose state is always carried on never learns to start, which
        is what it does at every sentence in a pipeline.
    accumulate_gradient (int): Windows of `bptt` tokens whose gradients add up to one
        step, as those of a larger batch would.
    max_grad_norm (float): Bound of the global norm of all gradients, 0 for none.
    lr_decay (float): Factor between the learning rates of neighbouring layer
        groups, 1.0 for one rate.
    trainable_groups (int): Layer groups that learn, counted from the top, 0 for all.
        The top one of an AWD-LSTM is its embedding with the decoder, the new words of
        a text among them.
    unfreeze_steps (int): Steps after which all layer groups learn, not the
        `trainable_groups` alone; 0 for never.
    drop_mult (float): Factor of all dropouts of the model in this training.
    alpha (float): Weight of AR (AWD-LSTM only).
    beta (float): Weight of TAR (AWD-LSTM only).
    max_vocab (int): Most words to predict, 0 for no limit.
    min_freq (int): Rarer words become the unknown word.
    vocab_file (Optional[Path]): The words to predict, one per line; by default those
        of the training text.
    vocabulary (str): What `lm finetune` does with the words it finds: `"extend"`
        the model's vocabulary by them, or `"replace"` it.
    distillation (Optional[DistillationConfig]): In `lm finetune`: the pipeline is the
        teacher of a new model, that of the config.
    n_samples (int): Words of a sampled softmax, 0 for the full one.
    target_vectors (Optional[str]): A pipeline whose word vectors a new biLM learns to
        predict, instead of words by a softmax.
    precision (str): Type of the large matrix products: `"float32"`, `"bfloat16"` or, on
        a GPU, `"float16"` with scaled losses; `"auto"` for `"bfloat16"` where the machine
        multiplies it itself, and else `"float32"`.
    compile (bool): Whether to compile the training step by `torch.compile`.
    shard_tokens (int): Tokens of a shard of the text, of which one at a time is in memory.
        Documents are shuffled within a shard.
    n_process (int): Processes that read the text, -1 for as many as there are cores.
    cache_dir (Optional[Path]): Where runs share the text they have read; by default each
        keeps its own in its directory.
    seed (int): Everything random depends on it.
    """

    component: str
    train_corpus: str = "corpora.train"
    dev_corpus: str = "corpora.dev"
    logger: Callable[..., Any]
    optimizer: Callable[[Any], Any]
    learn_rate: Union[float, Iterable[float]]
    max_steps: int = Field(ge=0)
    max_epochs: int = Field(0, ge=0)
    eval_frequency: int = Field(200, ge=1)
    checkpoint_frequency: int = Field(200, ge=1)
    keep_checkpoints: int = Field(1, ge=1)
    patience: int = Field(0, ge=0)
    batch_size: int = Field(ge=1)
    bptt: int = Field(ge=1)
    rows: Literal["stream", "sentences"] = "stream"
    variable_bptt: bool = False
    reset_probability: float = Field(0.0, ge=0.0, le=1.0)
    accumulate_gradient: int = Field(1, ge=1)
    max_grad_norm: float = Field(0.0, ge=0.0)
    lr_decay: float = Field(1.0, gt=0.0)
    trainable_groups: int = Field(0, ge=0)
    unfreeze_steps: int = Field(0, ge=0)
    drop_mult: float = Field(1.0, ge=0.0)
    alpha: float = 0.0
    beta: float = 0.0
    max_vocab: int = Field(30000, ge=0)
    min_freq: int = Field(2, ge=0)
    vocab_file: Optional[Path] = None
    vocabulary: Literal["extend", "replace"] = "extend"
    distillation: Optional[DistillationConfig] = None
    n_samples: int = Field(0, ge=0)
    target_vectors: Optional[str] = None
    precision: Literal["float32", "bfloat16", "float16", "auto"] = "float32"
    compile: bool = False
    shard_tokens: int = Field(1_000_000, ge=1)
    n_process: int = Field(1, ge=-1)
    cache_dir: Optional[Path] = None
    seed: int = 0

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)

    @property
    def dtype(self) -> torch.dtype:
        """Type of the large matrix products."""
        if self.precision == "auto":
            half = multiplies_bfloat16(get_torch_default_device())
            return torch.bfloat16 if half else torch.float32
        return cast(torch.dtype, getattr(torch, self.precision))


def resolve_lm_config(config: Config) -> LMConfig:
    """Read and check the `[lm]` block of an interpolated config.

    config (Config): The config.
    RETURNS (LMConfig): The settings.
    RAISES (ValueError): If the block is missing, never ends, or asks for what this
        machine cannot do.
    """
    if "lm" not in config:
        raise ValueError(
            "The config has no [lm] block, so it does not say how to train a language "
            f"model. It needs at least: {', '.join(_REQUIRED)}."
        )
    unknown = sorted(set(config["lm"]) - set(LMConfig.model_fields))
    if unknown:
        raise ValueError(
            f"[lm] has no setting {', '.join(unknown)}. Correct the name; the settings "
            f"are: {', '.join(LMConfig.model_fields)}."
        )
    try:
        resolved = registry.resolve(config["lm"], schema=LMConfig)
    except ImportError as error:
        # A logger of a service that is not installed.
        raise ValueError(f"[lm] needs a package that is not there. {error}") from error
    settings = LMConfig(**resolved)
    if settings.distillation and settings.n_samples:
        raise ValueError(
            "[lm.distillation] compares whole distributions, [lm] n_samples samples words: "
            "set n_samples = 0, or leave the distillation out."
        )
    if settings.target_vectors and (settings.n_samples or settings.distillation):
        raise ValueError(
            "[lm] target_vectors leaves out the softmax, which n_samples and distillation "
            "are about: leave those out, or target_vectors."
        )
    if settings.unfreeze_steps and not settings.trainable_groups:
        raise ValueError(
            "[lm] unfreeze_steps says when all layer groups begin to learn, but all do "
            "from the start. Set trainable_groups to the number that does, such as 1."
        )
    if not settings.max_steps and not settings.max_epochs:
        raise ValueError(
            "Training would never end: set [lm] max_steps or [lm] max_epochs."
        )
    if settings.variable_bptt and settings.rows != "stream":
        raise ValueError(
            f'[lm] variable_bptt has no meaning with rows = "{settings.rows}", where the '
            'sentences give the length. Set it to false, or rows to "stream".'
        )
    check_machine(
        get_torch_default_device(), dtype=settings.dtype, compile=settings.compile
    )
    return settings


def resolve_corpus(nlp: Language, name: str) -> Callable[[Language], Iterable[Any]]:
    """Return the reader that a config names, such as `"corpora.train"`."""
    config = nlp.config.interpolate()
    try:
        section = dot_to_object(config, name)
    except KeyError as error:
        raise ValueError(
            f"[lm] names the corpus '{name}', but the config has no [{name}] block."
        ) from error
    return registry.resolve({"reader": section})["reader"]
