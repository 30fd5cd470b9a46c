"""Language models trained for hours: perplexity while they learn, memory, speed.

    python benchmarks/lm_training.py wikitext2 --data DATA --work WORK
    python benchmarks/lm_training.py featured --data DATA --work WORK

DATA is a folder with the data sets, as docs/data.md describes. All training and
evaluation is done by the commands of `spacy lm`, in a folder of its own: what is there
already is not repeated, and an interrupted run goes on from its checkpoint. Perplexities
are of the full softmax on the whole held-out text. Results go to benchmarks/results.
"""

import lzma
import multiprocessing
import resource
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, Dict, Iterator, List, Mapping, Sequence

import spacy
import srsly
import typer
from _corpora import featured_text, wikitext_articles
from _runs import (
    DATA,
    RESULTS,
    WORK,
    commit,
    config_file,
    machine,
    markdown_table,
    spacy_command,
)
from matplotlib.figure import Figure
from spacy.tokens import Doc, DocBin
from wasabi import msg

from spacy_elmo_ulmfit.pretraining.resuming.checkpoint import checkpoint_files

PARTS = ("train", "valid", "test")
THREADS = typer.Option(2, help="CPU threads of the training")
AWD_LSTM = "components.awd_lstm_tok2vec.model"
BILM = "components.elmo_tok2vec.model"
# The paper's, for WikiText-2 (arXiv:1708.02182 and its scripts).
PAPER = {
    "embedding_dim": 400, "hidden_dim": 1150, "n_layers": 3, "tokens": "words",
    "input_dropout": 0.65, "hidden_dropout": 0.2, "output_dropout": 0.4,
    "embedding_dropout": 0.1, "weight_dropout": 0.5,
}  # fmt: skip
# Half the paper's windows: twice the updates in the same time, where epochs are few.
BATCH_SIZE, BPTT = 40, 35

app = typer.Typer(help=__doc__, no_args_is_help=True)


@app.command("wikitext2")
def wikitext2(
    data: Path = DATA,
    work: Path = WORK,
    epochs: int = typer.Option(2, help="Passes over the text in all"),
    stop_after: int = typer.Option(0, help="End after so many of them, 0 for all"),
    threads: int = THREADS,
) -> None:
    """AWD-LSTM of the paper's size on WikiText-2, in the published words."""
    folder = work / "wikitext2"
    corpora = {part: write_words(data, folder, part) for part in PARTS}
    steps = count_words(data / "wikitext-2" / "train.txt.xz") // (BATCH_SIZE * BPTT)
    settings = {
        "paths.train": corpora["train"],
        "paths.dev": corpora["valid"],
        **{f"{AWD_LSTM}.{key}": value for key, value in PAPER.items()},
        "lm.max_vocab": 0,
        "lm.min_freq": 1,
        "lm.batch_size": BATCH_SIZE,
        "lm.bptt": BPTT,
        "lm.variable_bptt": "true",
        "lm.drop_mult": 1.0,
        "lm.eval_frequency": 10 * epochs * steps,
        "lm.checkpoint_frequency": 50,
        "lm.learn_rate.num_steps": epochs * steps,
        "lm.learn_rate.max_rate": 0.004,
    }
    for epoch in range(1, (stop_after or epochs) + 1):
        train_epoch(folder, settings, epoch, epoch * steps, corpora, threads)
    report_wikitext2(folder, epochs, threads)


def train_epoch(
    folder: Path,
    settings: Mapping[str, Any],
    epoch: int,
    last_step: int,
    corpora: Mapping[str, Path],
    threads: int,
) -> None:
    """Train to the end of an epoch and evaluate, unless that was done before."""
    record = folder / f"epoch{epoch}.json"
    if record.exists():
        return
    pretrain(
        folder / "lm", "awd_lstm", {**settings, "lm.max_steps": last_step}, threads
    )
    pipeline = folder / "lm" / "model-last"
    about = srsly.read_json(pipeline / "meta.json")["language_model"]
    row = {
        "epoch": epoch,
        "commit": commit(),
        "threads": threads,
        **{key: about["awd_lstm_tok2vec"][key] for key in ("tokens_seen", "seconds")},
    }
    for part in PARTS[1:]:
        scores = folder / f"epoch{epoch}_{part}.json"
        spacy_command(
            "lm",
            "evaluate",
            pipeline,
            corpora[part],
            "-o",
            scores,
            "--threads",
            threads,
        )
        row[part] = srsly.read_json(scores)
    srsly.write_json(record, row)
    msg.good(
        f"Epoch {epoch}: valid {row['valid']['perplexity']:.1f}, "
        f"test {row['test']['perplexity']:.1f}"
    )


def report_wikitext2(folder: Path, epochs: int, threads: int) -> None:
    """Write table and curve of the epochs that are there."""
    rows = [
        srsly.read_json(folder / f"epoch{epoch}.json")
        for epoch in range(1, epochs + 1)
        if (folder / f"epoch{epoch}.json").exists()
    ]
    table = [
        [
            str(row["epoch"]),
            f"{row['valid']['perplexity']:.1f}",
            f"{row['test']['perplexity']:.1f}",
            f"{row['tokens_seen']:,}",
            f"{row['seconds'] / 60:.0f}",
        ]
        for row in rows
    ]
    header = ["epoch", "valid", "test", "tokens seen", "minutes of training"]
    note = (
        f"AWD-LSTM (400/1150/3, tied, the paper's dropouts), AdamW with one cycle over "
        f"{epochs} epochs, {BATCH_SIZE} rows, bptt {BPTT}, {threads} CPU threads. Words as "
        f"published: "
        f"{rows[-1]['valid']['n_words']:,} in the vocabulary, one `<eos>` a line. The paper "
        "has 68.6 and 65.8 after 750 epochs.\n\n"
    )
    write_results("wikitext2", rows, header, table, note)
    figure = Figure(figsize=(7, 4.5))
    axes = figure.subplots()
    for part in PARTS[1:]:
        minutes = [row["seconds"] / 60 for row in rows]
        scores = [row[part]["perplexity"] for row in rows]
        axes.plot(minutes, scores, marker="o", label=part)
    axes.set_xlabel(f"minutes of training ({threads} CPU threads)")
    axes.set_ylabel("perplexity")
    axes.set_yscale("log")
    axes.grid(alpha=0.3, which="both")
    axes.legend()
    axes.set_title("AWD-LSTM on WikiText-2, after each epoch")
    figure.tight_layout()
    figure.savefig(RESULTS / "wikitext2.png", dpi=120)


@app.command("featured")
def featured(
    data: Path = DATA,
    work: Path = WORK,
    words: List[int] = typer.Option(
        [2_000_000, 20_000_000], help="Sizes of corpora; the last one is trained on"
    ),
    probe_steps: int = typer.Option(100, help="Steps in which memory is measured"),
    max_steps: int = typer.Option(9000, help="Steps of the training in all"),
    stop_after: int = typer.Option(0, help="End after so many of them, 0 for all"),
    threads: int = THREADS,
) -> None:
    """The small biLM with a sampled softmax on 20 M words of Wikipedia."""
    folder = work / "featured"
    held_out = data / "wiki-featured" / "valid.txt.xz"
    rows = []
    for size in words:
        settings = featured_settings(
            featured_text(data, folder, size), held_out, folder, max_steps
        )
        rows.append(
            probe(folder / f"probe{size}", settings, size, probe_steps, threads)
        )
    settings["lm.max_steps"] = stop_after or max_steps
    pretrain(folder / "lm", "bilm", settings, threads)
    about = srsly.read_json(folder / "lm" / "model-last" / "meta.json")
    table = [
        [f"{row['words']:,}", f"{row['tokens_per_second']:,}", f"{row['peak_mb']:,}"]
        for row in rows
    ]
    model = about["language_model"]["elmo_tok2vec"]
    note = (
        f"biLM of configs/bilm.cfg, sampled softmax, {threads} CPU threads. After "
        f"{model['tokens_seen']:,} tokens in {model['seconds'] / 60:.0f} minutes: perplexity "
        f"{model['perplexity']:.1f} (forward {model['perplexity_forward']:.1f}, backward "
        f"{model['perplexity_backward']:.1f}) by the full softmax over "
        f"{model['n_words']:,} words on {model['n_tokens']:,} held-out tokens, unigram "
        f"{model['unigram_perplexity']:.1f}. Memory and speed are those of "
        f"{probe_steps} steps.\n\n"
    )
    header = ["words of the corpus", "tokens/s", "peak memory in MB"]
    write_results("lm-featured", [*rows, model], header, table, note)


def featured_settings(
    text: Path, held_out: Path, folder: Path, max_steps: int
) -> Dict[str, Any]:
    """Return the settings of a biLM's training."""
    return {
        "paths.train": text,
        "paths.dev": held_out,
        "lm.max_vocab": 20_000,
        "lm.n_samples": 4096,
        "lm.eval_frequency": max_steps // 6,
        "lm.checkpoint_frequency": 100,
        "lm.learn_rate.num_steps": max_steps,
    }


def probe(
    output: Path, settings: Mapping[str, Any], words: int, steps: int, threads: int
) -> Dict[str, Any]:
    """Train for some steps and return speed and peak memory, unless that was done."""
    record = output / "probe.json"
    if not record.exists():
        log = output.with_suffix(".jsonl")
        own = {
            "lm.max_steps": steps,
            "lm.eval_frequency": max(1, steps // 2),
            "lm.logger.output_file": log,
            "corpora.dev.limit": 20,
        }
        # The peak is that of all children of a process, so the run is to be its only one.
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(1, mp_context=context) as pool:
            arguments = output, {**settings, **own}, threads
            peak = pool.submit(peak_of_training, *arguments).result()
        speed = list(srsly.read_jsonl(log))[-1]["tokens_per_second"]
        row = {"words": words, "tokens_per_second": round(speed), "peak_mb": peak}
        srsly.write_json(record, row)
    return dict(srsly.read_json(record))


def peak_of_training(output: Path, settings: Mapping[str, Any], threads: int) -> int:
    """Train a biLM from raw text and return its most memory in megabytes."""
    pretrain(output, "bilm", settings, threads)
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024


def pretrain(
    output: Path, config: str, settings: Mapping[str, Any], threads: int
) -> None:
    """Run `lm pretrain`, or go on with it where there is a checkpoint."""
    resume = ["--resume"] if checkpoint_files(output) else []
    overrides = [
        part for key, value in settings.items() for part in (f"--{key}", value)
    ]
    arguments = ["--output", output, "--threads", threads, *resume, *overrides]
    spacy_command("lm", "pretrain", config_file(config), *arguments)


def write_words(data: Path, folder: Path, part: str) -> Path:
    """Write a part of WikiText-2 as documents of its own words, unless it is there."""
    path = folder / f"{part}.spacy"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        vocab = spacy.blank("en").vocab
        articles = wikitext_articles(data / "wikitext-2" / f"{part}.txt.xz")
        docs = [
            Doc(vocab, words=list(words_and_lines(article["text"])))
            for article in articles
        ]
        DocBin(docs=docs).to_disk(path)
    return path


def words_and_lines(text: str) -> Iterator[str]:
    """Yield words, and a line break between two lines."""
    for number, line in enumerate(text.removesuffix("\n").split("\n")):
        if number:
            yield "\n"
        yield from line.split()


def count_words(path: Path) -> int:
    """Return the words of a text, one more for the end of each line."""
    with lzma.open(path, "rt", encoding="utf-8") as lines:
        return sum(len(line.split()) + 1 for line in lines)


def write_results(
    name: str,
    rows: Sequence[Dict[str, Any]],
    header: Sequence[str],
    table: Sequence[Sequence[str]],
    note: str,
) -> None:
    """Write and print a table."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    results = {"machine": machine(), "commit": commit(), "rows": rows}
    srsly.write_json(RESULTS / f"{name}.json", results)
    markdown = note + markdown_table(header, table)
    (RESULTS / f"{name}.md").write_text(markdown, encoding="utf-8")
    msg.table(table, header=header, divider=True)
    msg.text(note)


if __name__ == "__main__":
    app()
