"""Language models that benchmarks train by `spacy lm`, each once."""

from pathlib import Path
from typing import Any, Mapping

from _runs import ROOT, config_file, spacy_command

from spacy_elmo_ulmfit.pretraining.resuming.checkpoint import checkpoint_files

SHIPPED = ROOT / "assets" / "models" / "en_ulmfit_sm"
SHIPPED_BACKWARD = SHIPPED.with_name("en_ulmfit_backward_sm")
# The pipeline of a language model at the end of its training.
LAST = "model-last"


def finetune(
    output: Path, source: Path, settings: Mapping[str, Any], gpu_id: int = -1
) -> Path:
    """Go on training a language model; return the pipeline."""
    settings = {"from": source, "gpu-id": gpu_id, **settings}
    return language_model(output, "finetune", "awd_lstm_finetune", settings)


def language_model(
    output: Path, command: str, config: str, settings: Mapping[str, Any]
) -> Path:
    """Run a command of `spacy lm` to its end, unless that was done before."""
    last = output / LAST
    if not last.exists():
        resume = ["--resume"] if checkpoint_files(output) else []
        overrides = [
            part for key, value in settings.items() for part in (f"--{key}", value)
        ]
        arguments = ["--output", output, *resume, *overrides]
        spacy_command("lm", command, config_file(config), *arguments)
    return last
