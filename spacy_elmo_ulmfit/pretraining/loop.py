"""The training loop of language models: truncated BPTT over streams of text."""

import contextlib
import dataclasses
import itertools
import math
import signal
import sys
import time
from pathlib import Path
from typing import IO, Any, Dict, Iterable, Iterator, Optional, cast

import torch
from spacy.language import Language
from spacy.util import fix_random_seed
from torch import Tensor, nn

from ..modules.bilm import BiLM
from ..text import Indexer, Vocabulary
from .batching.layout import create_layout
from .batching.training_text import Position, TrainingWindow
from .batching.windows import create_training_text
from .config import LMConfig
from .corpus.shards import ShardedStream
from .evaluate import evaluate_distance, evaluate_language_model
from .losses.distillation import create_distillation_objective
from .losses.objectives import Objective, create_objective
from .losses.target_vectors import VectorLoss, have_vectors
from .losses.word_losses import LanguageModel
from .resuming.checkpoint import checkpoint_files, remove_checkpoints
from .resuming.run_checkpoints import RunCheckpoints
from .resuming.saving import PipelineSaver
from .resuming.signals import (
    StopRequest,
    StopRequested,
    TrainingInterrupted,
    catch_stop_signals,
)
from .steps.averaging import NTASGD, averaged_weights
from .steps.freezing import Freezing
from .steps.gradient_step import GradientStep
from .steps.optimizers import parameter_groups
from .steps.precision import create_scaler
from .watching.loggers import LogStep, evaluation_info, silent_logger, tell_logger
from .watching.progress import Progress
from .watching.report import write_report
from .workers import ALONE, Workers

DIRECTORY_BEST = "model-best"
DIRECTORY_LAST = "model-last"
REPORT = "report.html"


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
    teacher (Optional[LanguageModel]): A language model to learn from.
    target_vectors (Optional[Tensor]): Vectors of the vocabulary's words, for a biLM that
        predicts those instead of words. *Shape:* `(n_words, vector_width)`
    workers (Workers): The processes that train it together.
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
        teacher: Optional[LanguageModel] = None,
        target_vectors: Optional[Tensor] = None,
        workers: Workers = ALONE,
    ) -> None:
        self.nlp, self.module, self.vocabulary = nlp, module, vocabulary
        self.indexer = indexer
        self.train_stream, self.dev_stream = train, dev
        self.config, self.output, self.workers = config, output, workers
        self.target_vectors = target_vectors
        are_targets = None
        self.progress = Progress()
        if target_vectors is not None:
            are_targets = have_vectors(target_vectors)
            self.progress.criterion = "distance"
        self.objective = self._create_objective(teacher)
        if config.compile:
            self.objective.compile()
        self.state = self.objective.zero_state(config.batch_size // workers.size)
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
            create_layout(module, vocabulary, indexer, are_targets=are_targets),
            variable_bptt=config.variable_bptt,
            batch_size=config.batch_size,
            bptt=config.bptt,
            seed=config.seed,
            workers=workers,
        )
        module.config = scale_dropouts(module.config, config.drop_mult)
        self._freezing = Freezing(
            module, config.trainable_groups, config.unfreeze_steps
        )
        never = [] if config.unfreeze_steps else self._freezing.parameters
        for parameter in never:
            parameter.requires_grad_(False)
        groups = parameter_groups(module, config.lr_decay, never)
        self.optimizer: torch.optim.Optimizer = config.optimizer(groups)
        self._gradient_step = GradientStep(
            module,
            self.optimizer,
            max_norm=config.max_grad_norm,
            scaler=create_scaler(config.dtype, self.objective.device),
        )
        self._checkpoints = RunCheckpoints(
            output,
            nlp=nlp,
            module=module,
            objective=self.objective,
            gradient_step=self._gradient_step,
            text=train,
            keep=config.keep_checkpoints,
            workers=workers,
        )
        self._read_window = workers.parallel(
            self.objective.step, module, some_unused=bool(config.unfreeze_steps)
        )

    def _create_objective(self, teacher: Optional[LanguageModel]) -> Objective:
        config, loss = self.config, None
        if self.target_vectors is not None:
            loss = VectorLoss(cast(BiLM, self.module), self.target_vectors)
        if teacher is not None:
            student = cast(LanguageModel, self.module)
            return create_distillation_objective(student, teacher, config)
        return create_objective(
            self.module,
            dtype=config.dtype,
            alpha=config.alpha,
            beta=config.beta,
            n_samples=config.n_samples,
            loss=loss,
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
        # Dropout differs from process to process.
        fix_random_seed(self.config.seed + self.workers.rank)
        if resume:
            self.progress, self.state = self._checkpoints.restore()
        elif self.workers.is_main:
            # What an earlier, finished run left must not be taken for this one's.
            remove_checkpoints(self.output)
        create = self.config.logger if self.workers.is_main else silent_logger
        tell_logger(self.nlp.config, self.config, self.progress.criterion)
        log_step, finalize = create(self.nlp, stdout, stderr)
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
        while not (self._is_stopped(stop) or progress.is_done(config)):
            before = time.perf_counter()
            self._update(windows, next(rates))
            progress.seconds = time.perf_counter() - started
            progress.step_seconds += time.perf_counter() - before
            self._evaluate_if_due(log_step, stop)
            if progress.step % config.checkpoint_frequency == 0:
                self._save_checkpoint()
        if self._is_stopped(stop):
            path = self._save_checkpoint()
            number = stop.number or signal.SIGTERM
            raise TrainingInterrupted(number, progress.step, path)
        with averaged_weights(self.optimizer):
            self._save_pipeline(DIRECTORY_LAST)
        progress.finished = True
        self._save_checkpoint()

    def _is_stopped(self, stop: StopRequest) -> bool:
        """Return whether a process was asked to stop, which ends all of them."""
        (asked,) = self.workers.sum([stop.number is not None])
        return asked > 0

    def _windows(self) -> Iterator[TrainingWindow]:
        progress = self.progress
        start = Position(progress.epoch, progress.shard, progress.position)
        for window in self.text.following(start):
            if progress.is_done(self.config):
                return
            progress.epoch, progress.shard, progress.position = window.end
            yield window

    def losses_at(self, rates: Iterable[float]) -> Iterator[float]:
        """Take steps, and nothing else: no evaluation, no log, nothing is saved.

        rates (Iterable[float]): Rate of each step.
        YIELDS (float): Mean loss of each step, in nats; after one that is not finite there
            are no more.
        """
        fix_random_seed(self.config.seed)
        windows = self._windows()
        for rate in rates:
            try:
                self._step(windows, rate)
            except FloatingPointError:
                return
            yield self.progress.mean_loss(len(self.objective.directions))
            self.progress.forget_steps()

    def _update(self, windows: Iterator[TrainingWindow], rate: float) -> None:
        progress = self.progress
        place = (
            f"epoch {progress.epoch}, shard {progress.shard}, from token "
            f"{progress.position} of each row on"
        )
        try:
            self._step(windows, rate)
        except FloatingPointError as error:
            message = f"{error} at step {progress.step + 1} ({place})"
            raise self._divergence(message) from error

    def _step(self, windows: Iterator[TrainingWindow], rate: float) -> None:
        progress = self.progress
        self.module.train()
        self._freezing.prepare(progress.step)
        n_windows, share = self.config.accumulate_gradient, 0.0
        for window in itertools.islice(windows, n_windows):
            self._read(window)
            share += window.rate_scale
        self._gradient_step.take(rate * share / n_windows)
        progress.step += 1
        progress.learn_rate = rate
        progress.grad_norm += self._gradient_step.norm

    def _read(self, window: TrainingWindow) -> None:
        progress, directions = self.progress, self.objective.directions
        if window.fresh:
            self.state = self.objective.zero_state(window.window.batch_size)
        elif self.config.reset_probability:
            kept = self.text.kept_rows(window.end, self.config.reset_probability)
            keep = torch.from_numpy(kept).float()
            self.state = self.objective.mask_state(self.state, keep)
        result = self._read_window(window.window, self.state)
        self.state = result.state
        # Of all processes together, so that all of them go on, or none does.
        n_targets, penalty, *losses = self.workers.sum(
            [result.n_targets, float(result.penalty.detach()), *result.losses.tolist()]
        )
        if not math.isfinite(penalty + sum(losses)):
            raise FloatingPointError(f"The loss is {penalty + sum(losses)}")
        # The mean over the processes of these is the mean over all targets.
        n_mean = n_targets * len(directions) / self.workers.size
        self._gradient_step.add(result.losses.sum(), result.penalty, n_mean)
        progress.n_tokens += round(n_targets)
        progress.n_targets += n_targets
        for name, value in zip(directions, losses):
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
            return
        with averaged_weights(self.optimizer):
            metrics = self.workers.broadcast(self._held_out_metrics(stop))
            if metrics is not None:
                self._note(metrics, log_step)

    def _held_out_metrics(self, stop: StopRequest) -> Optional[Dict[str, float]]:
        """Evaluate in the first process, unless it is to stop: what goes on evaluates."""
        if not self.workers.is_main or stop.number is not None:
            return None
        with contextlib.suppress(StopRequested), stop.abandoning():
            return self._evaluate()
        return None

    def _evaluate(self) -> Dict[str, float]:
        module, text, indexer = self.module, self.dev_stream, self.indexer
        if self.target_vectors is None:
            return evaluate_language_model(
                module, text, self.vocabulary, indexer=indexer
            )
        vectors = self.target_vectors
        return evaluate_distance(
            cast(BiLM, module), text, self.vocabulary, vectors, indexer=indexer
        )

    def _note(self, metrics: Dict[str, float], log_step: LogStep) -> None:
        progress = self.progress
        value = metrics[progress.criterion]
        if not math.isfinite(value):
            raise self._divergence(
                f"The held-out {progress.criterion} is not a number after step "
                f"{progress.step}"
            )
        progress.metrics = metrics
        if value < progress.best_value:
            progress.best_value, progress.best_step = value, progress.step
            self._save_pipeline(DIRECTORY_BEST)
        left = progress.seconds_left(self.config, self.train_stream.n_tokens)
        progress.log(progress.row(len(self.objective.directions), left))
        log_step(evaluation_info(progress, self.config, self.nlp.pipe_names))
        if self.workers.is_main:
            write_report(self.output / REPORT, progress, self.nlp.config)
        if isinstance(self.optimizer, NTASGD):
            self.optimizer.observe([value for _, value in progress.history])

    def _save_pipeline(self, name: str) -> None:
        if self.workers.is_main:
            self._saver.save(self.output / name, self.progress)

    def _save_checkpoint(self) -> Path:
        progress = self.progress
        if not all(bool(p.isfinite().all()) for p in self.module.parameters()):
            raise self._divergence(
                f"Weights are no longer finite after step {progress.step}"
            )
        return self._checkpoints.save(progress, self.state)


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
