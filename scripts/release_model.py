"""Make a trained language model ready to ship: clean strings, metadata, model card.

    python scripts/release_model.py training/wiki/bilm/model-best assets/models/en_elmo_sm \\
        --name elmo_sm --log training/wiki/bilm.jsonl --corpus "..." --license "CC BY-SA 3.0"
"""

import math
from pathlib import Path
from typing import Any, Dict, List, Optional

import spacy
import srsly
import typer
from thinc.api import Config
from wasabi import msg

from spacy_elmo_ulmfit import __version__

META_KEY = "language_model"
CARD = """# en_{name}

{description}

| | |
| --- | --- |
| pipeline | {pipeline} |
| version | {version} |
| trained by | `python -m spacy lm pretrain`, package version {package_version}, commit `{commit}`; the config is `config.cfg` here |
| text | {corpus} |
| read | {tokens:,} tokens in {steps:,} steps |
| time | {minutes} minutes on {hardware} |
| vocabulary | {n_words:,} words, {oov:.1%} of the held-out tokens outside it |
| held-out perplexity | **{perplexity:.1f}** ({directions}) over {n_tokens:,} tokens; unigram perplexity of the same text {unigram:.1f} |
| parameters | {parameters:,}, stored as {storage} |
| licence | {license} |

## Training

Perplexity on the held-out sample used during training:

| step | tokens | {training} | held-out |
| ---: | ---: | ---: | ---: |
{log}

## Limits

{limits}
"""


def main(
    source: Path = typer.Argument(..., help="model-best of a run"),
    target: Path = typer.Argument(..., help="Where the pipeline goes"),
    name: str = typer.Option(..., help="Name without the language"),
    metrics: Path = typer.Option(..., help="What `lm evaluate --output` wrote"),
    log: Path = typer.Option(..., help="The run's log, JSON lines"),
    corpus: str = typer.Option(..., help="What it was trained on"),
    license_name: str = typer.Option(..., "--license", help="Licence of the model"),
    description: str = typer.Option(..., help="What it is, one or two sentences"),
    hardware: str = typer.Option(..., help="What it was trained on, in words"),
    limits: str = typer.Option(..., help="Known limits"),
    commit: str = typer.Option(..., help="Commit of this package that trained it"),
    version: str = typer.Option("0.1.0", help="Version of the model"),
) -> None:
    """Write the pipeline and its card."""
    # A new pipeline from the config has no strings but those of the language.
    trained = spacy.load(source)
    config = without_places(trained.config)
    nlp = spacy.util.load_model_from_config(config, auto_fill=True)
    component = next(name for name, pipe in trained.pipeline if hasattr(pipe, "shim"))
    pipe: Any = nlp.get_pipe(component)
    pipe.from_disk(source / component, exclude=["vocab"])
    facts: Dict[str, Any] = {
        **trained.meta[META_KEY][component],
        **{key: round(value, 4) for key, value in srsly.read_json(metrics).items()},
        "corpus": corpus,
        "license": license_name,
    }
    nlp.meta.update(
        name=name,
        version=version,
        description=description,
        author="The spacy-elmo-ulmfit developers",
        license=license_name,
        sources=[{"name": corpus, "license": license_name}],
    )
    nlp.meta[META_KEY] = {component: facts}
    target.mkdir(parents=True, exist_ok=True)
    nlp.to_disk(target)
    module = pipe.language_model
    is_sampled = bool(config.get("lm", {}).get("n_samples"))
    card = CARD.format(
        name=name,
        description=description,
        pipeline=", ".join(f"`{pipe}`" for pipe in nlp.pipe_names),
        version=spacy.util.get_model_meta(target)["version"],
        package_version=__version__,
        commit=commit,
        corpus=corpus,
        tokens=facts["tokens_seen"],
        steps=facts["steps"],
        minutes=round(facts["seconds"] / 60),
        hardware=hardware,
        n_words=facts["n_words"],
        oov=facts["oov_rate"],
        perplexity=facts["perplexity"],
        directions=_directions(facts),
        n_tokens=facts["n_tokens"],
        unigram=facts["unigram_perplexity"],
        parameters=sum(parameter.numel() for parameter in module.parameters()),
        storage=config["components"][component]["model"].get("storage", "float32"),
        license=license_name,
        # The loss among a few words is no perplexity.
        training="sampled loss" if is_sampled else "training",
        log="\n".join(_log_rows(log, is_sampled)),
        limits=limits,
    )
    (target / "README.md").write_text(card, encoding="utf-8")
    size = sum(path.stat().st_size for path in target.rglob("*") if path.is_file())
    msg.good(f"Wrote {target}, {size / 2**20:.1f} MB")


def without_places(config: Config) -> Config:
    """Return a config whose files are named without the folders of this machine."""
    config = config.copy()
    places = (
        (config["paths"], ("train", "dev", "from")),
        (config.get("lm", {}).get("logger", {}), ("output_file",)),
    )
    for section, names in places:
        for name in names:
            if section.get(name):
                section[name] = Path(section[name]).name
    return config


def _directions(facts: Dict[str, Any]) -> str:
    names = ("forward", "backward")
    found: List[Optional[float]] = [facts.get(f"perplexity_{name}") for name in names]
    return ", ".join(f"{n} {v:.1f}" for n, v in zip(names, found) if v is not None)


def _log_rows(log: Path, is_sampled: bool) -> List[str]:
    # A resumed run repeats the steps since its checkpoint: the last record counts.
    rows = {record["step"]: record for record in srsly.read_jsonl(log)}
    result = []
    for step, row in sorted(rows.items()):
        training = ""
        if row["loss"]:
            loss = row["loss"]
            training = f"{loss:.2f}" if is_sampled else f"{math.exp(loss):.1f}"
        result.append(
            f"| {step:,} | {row['tokens']:,} | {training} | {row['perplexity']:.1f} |"
        )
    return result


if __name__ == "__main__":
    typer.run(main)
