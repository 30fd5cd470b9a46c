"""The part of `lm_speed.py` that needs fastai; it knows nothing of this project.

python steps.py FOLDER

Trains fastai's language model, one step for each line on standard input, and prints how
long it took.
"""

import json
import resource
import sys
import time
import warnings
from pathlib import Path
from typing import Any, List, Tuple

import fastai
import numpy
import torch
from fastai.callback.core import Callback, CancelFitException
from fastai.callback.rnn import rnn_cbs
from fastai.data.core import DataLoaders
from fastai.data.load import DataLoader
from fastai.learner import Learner
from fastai.losses import CrossEntropyLossFlat
from fastai.text.models.awdlstm import (
    AWD_LSTM,
    awd_lstm_lm_config,
    awd_lstm_lm_split,
)
from fastai.text.models.core import get_language_model


class StepByStep(Callback):
    """Waits for a line before each batch, and tells what the batch took."""

    order = -100

    def before_batch(self) -> None:
        """Wait; end the training where there are no more lines."""
        if not sys.stdin.readline():
            raise CancelFitException
        self.started, self.busy = time.perf_counter(), time.process_time()

    def after_batch(self) -> None:
        """Print seconds and loss."""
        step = {
            "seconds": time.perf_counter() - self.started,
            "cpu_seconds": time.process_time() - self.busy,
            "loss": float(self.loss),
        }
        print(json.dumps(step), flush=True)


def main(folder: Path) -> None:
    """Train until standard input ends, then print the largest use of memory."""
    settings = json.loads((folder / "settings.json").read_text("utf-8"))
    torch.manual_seed(0)
    tokens = torch.from_numpy(numpy.load(folder / "train.npy"))
    width = settings["bptt"]
    items: List[Tuple[Any, Any]] = [
        (tokens[:, i : i + width], tokens[:, i + 1 : i + width + 1])
        for i in range(0, tokens.shape[1] - width, width)
    ]
    loader = DataLoader(items, bs=None, num_workers=0)
    sizes = {name: settings[name] for name in ("emb_sz", "n_hid", "n_layers")}
    model = get_language_model(
        AWD_LSTM, settings["n_words"], config={**awd_lstm_lm_config, **sizes}
    )
    learner = Learner(
        DataLoaders(loader, loader),
        model,
        loss_func=CrossEntropyLossFlat(),
        splitter=awd_lstm_lm_split,
        cbs=[*rnn_cbs(settings["alpha"], settings["beta"]), StepByStep()],
    )
    print(json.dumps({"fastai": fastai.__version__}), flush=True)
    with learner.no_logging():
        learner.fit(1, lr=settings["rate"])
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({"peak_mb": kilobytes / 1024}), flush=True)


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    main(Path(sys.argv[1]))
