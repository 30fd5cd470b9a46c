"""The training loop of language models: truncated BPTT over streams of text."""

import dataclasses
import itertools
import math
import sys
import time
from pathlib import Path
from typing import IO, Any, Callable, Dict, Iterable, Iterator, List, Optional, Tuple

import numpy
import torch
from spacy.language import Language
from spacy.util import fix_random_seed
from torch import nn

from ..modules.bilm import BiLM, BiLMState
from ..pipeline.source import META_KEY
from ..replacing import replace_directory
from ..text import BEGIN_SENTENCE, ByteIndexer, Indexer, Vocabulary
from ..text.neutral import store_warm_state
from .checkpoint import CHECKPOINT_FILE, Progress, load_checkpoint, save_checkpoint
from .config import LMConfig
from .evaluate import evaluate_language_model
from .layout import create_layout
from .objectives import Objective, create_objective
from .optimizers import parameter_groups
from .shards import ShardedStream
from .stream import TokenStream
from .training_text import Position, TrainingWindow
from .windows import create_training_text

DIRECTORY_BEST = "model-best"
DIRECTORY_LAST = "model-last"
# Sentences whose states make the warm state.
_N_NEUTRAL = 5


class LanguageModelTrainer:
    """Train the language model of a pipeline.

    nlp (Language): The pipeline; its language model component has its weights.
    module (nn.Module): The language model in it.
    vocabulary (Vocabulary): The words it predicts.
    indexer (Optional[Indexer]): How a biLM reads words; by default as UTF-8 bytes.
    train (ShardedStream): Training text.
    dev (ShardedStream): Held-out text.
    config (LMConfig): Settings.
    output (Path): Directory of the run.
    """

    def __init__(
        self,
        nlp: Language,
        module: nn.Module,
        vocabulary: Vocabulary,
        *,
        indexer: Optional[Indexer] = None,
        train: ShardedStream,
        dev: ShardedStream,
        config: LMConfig,
        output: Path,
    ) -> None:
        self.nlp, self.module, self.vocabulary = nlp, module, vocabulary
        self.indexer = indexer
        self.train_stream, self.dev_stream = train, dev
        self.config, self.output = config, output
        self.progress = Progress()
        self._rate = 0.0
        self.objective: Objective = create_objective(
            module,
            dtype=config.dtype,
            alpha=config.alpha,
            beta=config.beta,
        )
        self.windows = create_training_text(
            config.rows,
            train,
            create_layout(module, vocabulary, indexer),
            variable_bptt=config.variable_bptt,
            batch_size=config.batch_size,
            bptt=config.bptt,
            seed=config.seed,
        )
        self._config_at_rest = module.config
        module.config = scale_dropouts(module.config, config.drop_mult)
        groups = parameter_groups(module, config.lr_decay, config.trainable_groups)
        self.optimizer: torch.optim.Optimizer = config.optimizer(groups)
        self.state = self.objective.zero_state(config.batch_size)

    def train(
        self,
        *,
        resume: bool = False,
        stdout: IO[str] = sys.stdout,
        stderr: IO[str] = sys.stderr,
    ) -> Dict[str, float]:
        """Train to the end, evaluating, logging and saving on the way.

        resume (bool): Go on from the run's checkpoint.
        stdout (IO): Where the logger writes.
        stderr (IO): Where the logger shows its progress bar.
        RETURNS (Dict[str, float]): Metrics of the last evaluation.
        """
        config, progress = self.config, self.progress
        fix_random_seed(config.seed)
        if resume:
            self._restore()
            progress = self.progress
        else:
            # What an earlier, finished run left must not be taken for this one's.
            (self.output / CHECKPOINT_FILE).unlink(missing_ok=True)
        log_step, finalize = self._setup_logger(stdout, stderr)
        rates = itertools.islice(_rates(config.learn_rate), progress.step, None)
        started = time.perf_counter() - progress.seconds
        metrics: Dict[str, float] = {}
        # The table starts where the model starts, also when there is nothing to do.
        if progress.step == 0 or self._is_done():
            metrics = self._evaluate(log_step)
        for window in self._windows():
            self._rate = next(rates)
            self._update(window, self._rate)
            progress.seconds = time.perf_counter() - started
            ends = progress.step == config.max_steps or self._ends_epochs()
            if ends or progress.step % config.eval_frequency == 0:
                metrics = self._evaluate(log_step)
            else:
                log_step(None)
            progress.finished = self._is_done()
            if progress.finished or progress.step % config.checkpoint_frequency == 0:
                self._save_checkpoint()
        finalize()
        self._save_pipeline(DIRECTORY_LAST, metrics)
        return metrics

    def _windows(self) -> Iterator[TrainingWindow]:
        progress = self.progress
        start = Position(progress.epoch, progress.shard, progress.position)
        windows = self.windows.following(start)
        while not self._is_done():
            window = next(windows)
            progress.epoch, progress.shard, progress.position = window.end
            if window.fresh:
                self.state = self.objective.zero_state(window.window.batch_size)
            yield window

    def _update(self, window: TrainingWindow, rate: float) -> None:
        config, progress = self.config, self.progress
        self.module.train()
        if config.reset_probability and not window.fresh:
            keep = (torch.rand(config.batch_size) >= config.reset_probability).float()
            self.state = self.objective.mask_state(self.state, keep)
        result = self.objective.step(window.window, self.state)
        self.state = result.state
        n_targets = result.n_targets * len(result.losses)
        loss = result.losses.sum() / n_targets + result.penalty
        if not math.isfinite(float(loss.detach())):
            raise ValueError(
                f"The loss is {float(loss.detach())} at step {progress.step}: training "
                "has diverged. Lower [lm] learn_rate or set [lm] max_grad_norm."
            )
        loss.backward()
        if config.max_grad_norm:
            nn.utils.clip_grad_norm_(self.module.parameters(), config.max_grad_norm)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["lr_scale"] * window.rate_scale
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        progress.step += 1
        progress.n_tokens += result.n_targets
        progress.n_targets += result.n_targets
        for name, value in zip(self.objective.directions, result.losses.tolist()):
            progress.losses[name] = progress.losses.get(name, 0.0) + value

    def _ends_epochs(self) -> bool:
        config, progress = self.config, self.progress
        return bool(config.max_epochs and progress.epoch >= config.max_epochs)

    def _is_done(self) -> bool:
        config, progress = self.config, self.progress
        if config.max_steps and progress.step >= config.max_steps:
            return True
        if self._ends_epochs():
            return True
        waited = progress.step - progress.best_step
        return bool(config.patience and progress.history and waited >= config.patience)

    def _evaluate(self, log_step: Callable[..., None]) -> Dict[str, float]:
        config, progress = self.config, self.progress
        metrics = evaluate_language_model(
            self.module, self.dev_stream, self.vocabulary, indexer=self.indexer
        )
        if not math.isfinite(metrics["perplexity"]):
            raise ValueError(
                f"The held-out perplexity is not a number after step {progress.step}: "
                "training has diverged. Lower [lm] learn_rate or set [lm] max_grad_norm."
            )
        progress.history.append((progress.step, metrics["perplexity"]))
        if metrics["perplexity"] < progress.best_perplexity:
            progress.best_perplexity = metrics["perplexity"]
            progress.best_step = progress.step
            self._save_pipeline(DIRECTORY_BEST, metrics)
        train_loss = sum(progress.losses.values()) / max(
            1, progress.n_targets * len(self.objective.directions)
        )
        log_step(
            {
                "epoch": progress.epoch,
                "step": progress.step,
                "score": 1.0 / metrics["perplexity"],
                "other_scores": {
                    **metrics,
                    "learn_rate": self._rate,
                },
                "losses": {
                    name: train_loss if name == config.component else 0.0
                    for name in self.nlp.pipe_names
                },
                "checkpoints": [
                    (1.0 / perplexity, step) for step, perplexity in progress.history
                ],
                "seconds": int(progress.seconds),
                "words": progress.n_tokens,
                "max_steps": config.max_steps,
            }
        )
        progress.losses, progress.n_targets = {}, 0
        return metrics

    def _setup_logger(
        self, stdout: IO[str], stderr: IO[str]
    ) -> Tuple[Callable[..., None], Callable[[], None]]:
        # What loggers of spaCy's protocol read from the config.
        training = self.nlp.config["training"]
        training["max_steps"] = self.config.max_steps
        training["eval_frequency"] = self.config.eval_frequency
        training["score_weights"] = {"perplexity": 0.0}
        return self.config.logger(self.nlp, stdout, stderr)

    def _save_pipeline(self, name: str, metrics: Dict[str, float]) -> None:
        progress = self.progress
        if isinstance(self.module, BiLM):
            indexer = self.indexer or ByteIndexer(self.module.config.max_chars)
            store_warm_state(
                self.module, indexer, neutral_sentences(self.dev_stream[0])
            )
        self.nlp.meta[META_KEY] = {
            **self.nlp.meta.get(META_KEY, {}),
            self.config.component: {
                "kind": str(self.module.kind),
                "steps": progress.step,
                "tokens_seen": progress.n_tokens,
                "seconds": round(progress.seconds),
                **{key: round(value, 4) for key, value in metrics.items()},
            },
        }
        config, self.module.config = self.module.config, self._config_at_rest
        replace_directory(self.output / name, self.nlp.to_disk)
        self.module.config = config

    def _save_checkpoint(self) -> None:
        save_checkpoint(
            self.output,
            module=self.module,
            optimizer=self.optimizer,
            state=_plain_state(self.state),
            progress=self.progress,
            fingerprint=self.train_stream.fingerprint(),
        )

    def _restore(self) -> None:
        data = load_checkpoint(self.output)
        fingerprint = self.train_stream.fingerprint()
        if data["fingerprint"] != fingerprint:
            raise ValueError(
                f"{self.output / CHECKPOINT_FILE} belongs to another training text "
                f"({data['fingerprint']}, now {fingerprint}). Resume with the text the "
                "run began with, or start anew without --resume."
            )
        self.module.load_state_dict(data["module"])
        self.optimizer.load_state_dict(data["optimizer"])
        state = _to_device(data["state"], self.objective.device)
        if isinstance(self.state, BiLMState):
            state = BiLMState(*state)
        self.state = state
        self.progress = Progress(**data["progress"])
        torch.set_rng_state(data["torch_rng"])
        if data["cuda_rng"]:
            torch.cuda.set_rng_state_all(data["cuda_rng"])


def scale_dropouts(config: Any, factor: float) -> Any:
    """Return a model's settings with every dropout multiplied by a factor."""
    dropouts = {
        field.name: getattr(config, field.name) * factor
        for field in dataclasses.fields(config)
        if field.name.endswith("dropout")
    }
    return dataclasses.replace(config, **dropouts)


def neutral_sentences(stream: TokenStream) -> List[List[str]]:
    """Return the first sentences of middling length, or the first one of all.

    The state after them is what the biLM starts from in a pipeline.
    """
    boundary = stream.types.index(BEGIN_SENTENCE)
    text = numpy.asarray(stream.tokens)
    edges = numpy.append(numpy.flatnonzero(text == boundary), len(text))
    middling = [i for i, n in enumerate(numpy.diff(edges)) if 10 <= n <= 30] or [0]
    return [
        [stream.types[i] for i in text[edges[sentence] + 1 : edges[sentence + 1]]]
        for sentence in middling[:_N_NEUTRAL]
    ]


def _rates(learn_rate: "float | Iterable[float]") -> Iterator[float]:
    if isinstance(learn_rate, (int, float)):
        return itertools.repeat(float(learn_rate))
    return iter(learn_rate)


def _to_device(state: Any, device: torch.device) -> Any:
    if isinstance(state, torch.Tensor):
        return state.to(device)
    return type(state)(_to_device(part, device) for part in state)


def _plain_state(state: Any) -> List[Any]:
    return [list(part) if isinstance(part, list) else part for part in state]
