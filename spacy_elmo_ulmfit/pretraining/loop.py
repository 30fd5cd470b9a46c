"""The training loop of language models: truncated BPTT over streams of text."""

import contextlib
import dataclasses
import itertools
import math
import sys
import time
from pathlib import Path
from typing import IO, Any, Callable, Dict, Iterable, Iterator, Optional, Tuple

import torch
from spacy.language import Language
from spacy.util import fix_random_seed
from torch import nn

from ..text import Indexer, Vocabulary
from .averaging import NTASGD, averaged_weights
from .carried_state import plain_state, restored_state
from .checkpoint import (
    checkpoint_files,
    load_checkpoint,
    remove_checkpoints,
    save_checkpoint,
)
from .config import LMConfig
from .evaluate import evaluate_language_model
from .gradient_step import GradientStep
from .layout import create_layout
from .loggers import LogStep
from .objectives import Objective, create_objective
from .optimizers import parameter_groups
from .precision import create_scaler
from .progress import Progress
from .random_states import random_states, restore_random_states
from .run_settings import check_changes, run_settings
from .saving import PipelineSaver
from .shards import ShardedStream
from .signals import (
    StopRequest,
    StopRequested,
    TrainingInterrupted,
    catch_stop_signals,
)
from .training_text import Position, TrainingWindow
from .windows import create_training_text

DIRECTORY_BEST = "model-best"
DIRECTORY_LAST = "model-last"


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
        self.objective: Objective = create_objective(
            module,
            dtype=config.dtype,
            alpha=config.alpha,
            beta=config.beta,
            n_samples=config.n_samples,
        )
        if config.compile:
            self.objective.compile()
        self.state = self.objective.zero_state(config.batch_size)
        self._saver = PipelineSaver(
            nlp,
            config.component,
            module,
            indexer=indexer,
            dev=dev,
            config_at_rest=module.config,
        )
        self.text = create_training_text(
            config.rows,
            train,
            create_layout(module, vocabulary, indexer),
            variable_bptt=config.variable_bptt,
            batch_size=config.batch_size,
            bptt=config.bptt,
            seed=config.seed,
        )
        module.config = scale_dropouts(module.config, config.drop_mult)
        groups = parameter_groups(module, config.lr_decay, config.trainable_groups)
        self.optimizer: torch.optim.Optimizer = config.optimizer(groups)
        self._gradient_step = GradientStep(
            module,
            self.optimizer,
            max_norm=config.max_grad_norm,
            scaler=create_scaler(config.dtype, self.objective.device),
        )

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
        RAISES (TrainingInterrupted): After a signal to stop, with a checkpoint written.
        RAISES (ValueError): If training diverges, or something cannot be written.
        """
        fix_random_seed(self.config.seed)
        if resume:
            self._restore()
        else:
            # What an earlier, finished run left must not be taken for this one's.
            remove_checkpoints(self.output)
        log_step, finalize = self._setup_logger(stdout, stderr)
        try:
            with catch_stop_signals() as stop:
                self._train(log_step, stop)
        finally:
            finalize()
        return self.progress.metrics

    def _train(self, log_step: LogStep, stop: StopRequest) -> None:
        config, progress = self.config, self.progress
        progress.finished = False
        windows = self._windows()
        rates = itertools.islice(_rates(config.learn_rate), progress.step, None)
        started = time.perf_counter() - progress.seconds
        # The table starts where the model starts; a signal may have put a row off.
        self._evaluate_if_due(log_step, stop)
        while stop.number is None and not progress.is_done(config):
            self._update(windows, next(rates))
            progress.seconds = time.perf_counter() - started
            self._evaluate_if_due(log_step, stop)
            if progress.step % config.checkpoint_frequency == 0:
                self._save_checkpoint()
        if stop.number is not None:
            path = self._save_checkpoint()
            raise TrainingInterrupted(stop.number, progress.step, path)
        with averaged_weights(self.optimizer):
            self._saver.save(self.output / DIRECTORY_LAST, progress)
        progress.finished = True
        self._save_checkpoint()

    def _windows(self) -> Iterator[TrainingWindow]:
        progress = self.progress
        start = Position(progress.epoch, progress.shard, progress.position)
        for window in self.text.following(start):
            if progress.is_done(self.config):
                return
            progress.epoch, progress.shard, progress.position = window.end
            yield window

    def _update(self, windows: Iterator[TrainingWindow], rate: float) -> None:
        config, progress = self.config, self.progress
        place = (
            f"epoch {progress.epoch}, shard {progress.shard}, from token "
            f"{progress.position} of each row on"
        )
        self.module.train()
        scales = []
        try:
            for window in itertools.islice(windows, config.accumulate_gradient):
                self._read(window)
                scales.append(window.rate_scale)
            self._gradient_step.take(rate * sum(scales) / config.accumulate_gradient)
        except FloatingPointError as error:
            message = f"{error} at step {progress.step + 1} ({place})"
            raise self._divergence(message) from error
        progress.step += 1
        progress.learn_rate = rate

    def _read(self, window: TrainingWindow) -> None:
        config, progress = self.config, self.progress
        if window.fresh:
            self.state = self.objective.zero_state(window.window.batch_size)
        elif config.reset_probability:
            keep = (torch.rand(config.batch_size) >= config.reset_probability).float()
            self.state = self.objective.mask_state(self.state, keep)
        result = self.objective.step(window.window, self.state)
        self.state = result.state
        self._gradient_step.add(
            result.losses.sum(), result.penalty, result.n_targets * len(result.losses)
        )
        progress.n_tokens += result.n_targets
        progress.n_targets += result.n_targets
        for name, value in zip(self.objective.directions, result.losses.tolist()):
            progress.losses[name] = progress.losses.get(name, 0.0) + value

    def _divergence(self, what: str) -> ValueError:
        newest = checkpoint_files(self.output)[:1]
        saved = " and ".join(map(str, [self.output / DIRECTORY_BEST, *newest]))
        return ValueError(
            f"{what}: training has diverged. The last good weights are in {saved}. Lower "
            "[lm] learn_rate or set [lm] max_grad_norm, and "
            f"{'go on with --resume' if newest else 'start anew'}."
        )

    def _evaluate_if_due(self, log_step: LogStep, stop: StopRequest) -> None:
        if not self.progress.needs_evaluation(self.config):
            log_step(None)
        # A run that is to stop evaluates when it goes on.
        elif stop.number is None:
            with contextlib.suppress(StopRequested), averaged_weights(self.optimizer):
                self._evaluate(log_step, stop)

    def _evaluate(self, log_step: LogStep, stop: StopRequest) -> None:
        progress = self.progress
        with stop.abandoning():
            metrics = evaluate_language_model(
                self.module, self.dev_stream, self.vocabulary, indexer=self.indexer
            )
        perplexity = metrics["perplexity"]
        if not math.isfinite(perplexity):
            raise self._divergence(
                f"The held-out perplexity is not a number after step {progress.step}"
            )
        progress.metrics = metrics
        progress.history.append((progress.step, perplexity))
        if perplexity < progress.best_perplexity:
            progress.best_perplexity, progress.best_step = perplexity, progress.step
            self._saver.save(self.output / DIRECTORY_BEST, progress)
        log_step(self._row())
        progress.losses, progress.n_targets = {}, 0
        if isinstance(self.optimizer, NTASGD):
            self.optimizer.observe([value for _, value in progress.history])

    def _row(self) -> Dict[str, Any]:
        """Return what loggers of spaCy's protocol are told of an evaluation."""
        config, progress = self.config, self.progress
        n_losses = progress.n_targets * len(self.objective.directions)
        train_loss = sum(progress.losses.values()) / max(1, n_losses)
        return {
            "epoch": progress.epoch,
            "step": progress.step,
            "score": 1.0 / progress.metrics["perplexity"],
            "other_scores": {**progress.metrics, "learn_rate": progress.learn_rate},
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

    def _setup_logger(
        self, stdout: IO[str], stderr: IO[str]
    ) -> Tuple[LogStep, Callable[[], None]]:
        # What loggers of spaCy's protocol read from the config.
        training = self.nlp.config["training"]
        training["max_steps"] = self.config.max_steps
        training["eval_frequency"] = self.config.eval_frequency
        training["score_weights"] = {"perplexity": 0.0}
        return self.config.logger(self.nlp, stdout, stderr)

    def _save_checkpoint(self) -> Path:
        progress = self.progress
        if not all(bool(p.isfinite().all()) for p in self.module.parameters()):
            raise self._divergence(
                f"Weights are no longer finite after step {progress.step}"
            )
        data = {
            "module": self.module.state_dict(),
            "step": self._gradient_step.state_dict(),
            "state": plain_state(self.state),
            "progress": dataclasses.asdict(progress),
            "random": random_states(),
            "fingerprint": self.train_stream.fingerprint(),
            "settings": run_settings(self.nlp.config),
        }
        keep = self.config.keep_checkpoints
        return save_checkpoint(self.output, data, step=progress.step, keep=keep)

    def _restore(self) -> None:
        data = load_checkpoint(self.output)
        check_changes(data["settings"], run_settings(self.nlp.config))
        fingerprint = self.train_stream.fingerprint()
        if data["fingerprint"] != fingerprint:
            raise ValueError(
                f"The run in {self.output} belongs to another training text "
                f"({data['fingerprint']}, now {fingerprint}). Resume with the text the "
                "run began with, or start anew without --resume."
            )
        self.module.load_state_dict(data["module"])
        self._gradient_step.load_state_dict(data["step"])
        self.state = restored_state(data["state"], self.state, self.objective.device)
        self.progress = Progress(**data["progress"])
        restore_random_states(data["random"])


def scale_dropouts(config: Any, factor: float) -> Any:
    """Return a model's settings with every dropout multiplied by a factor."""
    dropouts = {
        field.name: getattr(config, field.name) * factor
        for field in dataclasses.fields(config)
        if field.name.endswith("dropout")
    }
    return dataclasses.replace(config, **dropouts)


def _rates(learn_rate: "float | Iterable[float]") -> Iterator[float]:
    if isinstance(learn_rate, (int, float)):
        return itertools.repeat(float(learn_rate))
    return iter(learn_rate)
