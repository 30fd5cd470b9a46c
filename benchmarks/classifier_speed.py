"""ULMFiT's text classifier against fastai: tokens, scores, memory and training.

    python benchmarks/classifier_speed.py compare pipe --fastai-python PATH --data FOLDER
    python benchmarks/classifier_speed.py memory

There are five comparisons: `tokenize`, the token rules; `pipe`, `nlp.pipe` from raw text
with `test_dl` and `get_preds`; `single`, `nlp(text)` with `learn.predict`; `train` and
`train-frozen`, training steps on the same batches, of all layers and of the head. PATH is
the Python of an environment with fastai 2; FOLDER has `imdb/`. Both sides have the same
random weights, written by fastai and read by `init ulmfit`; tokens and scores of single
reviews are compared before anything is timed. Every side is a process of its own,
and they take one step after the other in turn. Other precisions than float32 have rows
where the processor multiplies such numbers.
"""

import functools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Callable, Dict, List, NamedTuple, Sequence

import numpy
import spacy
import srsly
import torch
import typer
from _runs import (
    DATA,
    RESULTS,
    commit,
    machine,
    markdown_table,
    peak_memory,
    run_program,
)
from _turns import add_ratios, take_turns
from spacy.language import Language
from spacy.training import Example
from thinc.api import Adam

from spacy_elmo_ulmfit.modules.products import Precision, usable_precision
from spacy_elmo_ulmfit.text import create_lm_tokenizer

FASTAI = Path(__file__).parent / "fastai_side" / "classifier.py"
EXACT = 1e-4
N_COMPARED = 8
LABELS = "a,b"
INEXACT: Sequence[Precision] = ("bf16", "int8")
BATCHED = "fastai's own, alone and in a batch"
FIRST_EPOCH, LATER_EPOCHS = "cached, first epoch", "cached, later epochs"
SIZES = {"emb_sz": 400, "n_hid": 1152, "n_layers": 3, "n_words": 33000}
READING = {"bptt": 72, "max_len": 1440}

EMBEDDING = typer.Option(SIZES["emb_sz"], help="Width of embeddings")
HIDDEN = typer.Option(SIZES["n_hid"], help="Width of the layers between")
OUTPUT = typer.Option(RESULTS, help="Where to write the results")

app = typer.Typer()


class Table(NamedTuple):
    """One comparison.

    name (str): Its name.
    task (str): What fastai's side does.
    n_docs (int): Reviews of a step.
    sides (Sequence[str]): What is done here, by name; fastai does the first.
    frozen (bool): Whether the encoder is frozen in training.
    """

    name: str
    task: str
    n_docs: int
    sides: Sequence[str]
    frozen: bool = False


class Scale(NamedTuple):
    """How large a comparison is."""

    steps: int
    threads: int
    emb_sz: int
    n_hid: int


def create_tables() -> Dict[str, Table]:
    """Return the comparisons by their names."""
    tables = [
        Table("tokenize", "tokenize", 200, ["rules", "with the Doc"]),
        Table("pipe", "pipe", 256, in_all_precisions("nlp.pipe")),
        Table("single", "single", 8, in_all_precisions("nlp(text)")),
        Table("train", "train", 32, ["nlp.update"]),
        Table(
            "train-frozen",
            "train",
            32,
            ["nlp.update", FIRST_EPOCH, LATER_EPOCHS],
            frozen=True,
        ),
    ]
    return {table.name: table for table in tables}


@app.command("compare")
def compare_with_fastai(
    name: str = typer.Argument(..., help="Which comparison"),
    data: Path = DATA,
    fastai_python: Path = typer.Option(..., help="Python with fastai 2"),
    docs: int = typer.Option(0, help="Reviews of a step, 0 for the table's own"),
    steps: int = typer.Option(5, help="Timed steps of each side"),
    threads: int = typer.Option(1, help="Threads of each side"),
    emb: int = EMBEDDING,
    hid: int = HIDDEN,
    output: Path = OUTPUT,
) -> None:
    """Do the same with the same weights on both sides, in turn."""
    tables = create_tables()
    if name not in tables:
        raise typer.BadParameter(f"'{name}' is none of {', '.join(tables)}.")
    table = tables[name]
    table = table._replace(n_docs=docs or table.n_docs)
    compare(table, data, fastai_python, Scale(steps, threads, emb, hid), output)


@app.command()
def memory(
    words: List[int] = typer.Option([5_000, 50_000, 200_000], help="Lengths"),
    emb: int = EMBEDDING,
    hid: int = HIDDEN,
    output: Path = OUTPUT,
) -> None:
    """Score documents of growing length, each in a process of its own."""
    rows = []
    for n_words in words:
        command = [sys.executable, __file__, "score-long", n_words, emb, hid]
        said = subprocess.run(
            [str(part) for part in command], check=True, stdout=subprocess.PIPE
        )
        rows.append({"words": n_words, **json.loads(said.stdout.splitlines()[-1])})
    results = {"machine": machine(), "commit": commit(), "rows": rows}
    table = [[f"{value:,}" for value in row.values()] for row in rows]
    write(output, "memory", results, markdown_table(list(rows[0]), table))


@app.command()
def score_long(n_words: int, emb: int, hid: int) -> None:
    """Score one document after a short one; print what it took."""
    vocab = [f"word{i}" for i in range(1000)]
    nlp = random_classifier(vocab, emb, hid)
    nlp("word1 " * 100)
    at_rest = peak_memory()
    generator = numpy.random.default_rng(0)
    text = " ".join(vocab[i] for i in generator.integers(0, len(vocab), n_words))
    nlp.max_length = len(text) + 1
    doc = nlp.make_doc(text)
    with_doc = peak_memory()
    started = time.perf_counter()
    nlp(doc)
    took = {
        "MB after a short text": round(at_rest),
        "MB with the Doc": round(with_doc),
        "MB at the peak": round(peak_memory()),
        "seconds": round(time.perf_counter() - started, 1),
    }
    print(json.dumps(took), flush=True)


def random_classifier(vocab: Sequence[str], emb: int, hid: int) -> Language:
    """Return a pipeline with a classifier that has not learnt anything."""
    nlp = spacy.blank("en")
    model = {
        "@architectures": "spacy-elmo-ulmfit.ULMFiTClassifier.v1",
        "embedding_dim": emb,
        "hidden_dim": hid,
    }
    nlp.add_pipe("ulmfit_textcat", config={"model": model})
    text = " ".join(vocab)
    examples = [
        Example.from_dict(nlp.make_doc(text), {"cats": {"a": a, "b": 1.0 - a}})
        for a in (0.0, 1.0)
    ]
    nlp.initialize(lambda: examples)
    return nlp


def in_all_precisions(side: str) -> List[str]:
    """Return the names of a side in float32, and in what else this machine multiplies."""
    return [side, *(f"{side}, {name}" for name in usable_here())]


def usable_here() -> List[Precision]:
    """Return the inexact precisions that save time on this machine."""
    cpu = torch.device("cpu")
    return [name for name in INEXACT if usable_precision(name, cpu) == name]


def compare(
    table: Table, data: Path, fastai_python: Path, scale: Scale, output: Path
) -> None:
    """Make both models, compare what they say, time them, and write the table."""
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory)
        write_inputs(folder, data, table, scale)
        run_program([fastai_python, FASTAI, "make", folder])
        spacy_command = [sys.executable, "-m", "spacy", "init", "ulmfit", "en"]
        vocab = ["--vocab", folder / "vocab.pkl", "--labels", LABELS]
        run_program(
            [*spacy_command, folder / "classifier.pth", folder / "pipeline", *vocab]
        )
        parity = compare_scores(folder)
        commands: Dict[str, List[Any]] = {
            "fastai": [fastai_python, FASTAI, table.task, folder]
        }
        for side in table.sides:
            commands[side] = [sys.executable, __file__, "serve", folder, side]
        rows = take_turns(commands, scale.steps, scale.threads)
    add_ratios(rows)
    for row in rows:
        row["docs_per_second"] = table.n_docs / statistics.median(row["seconds"])
    results = {
        "machine": machine(),
        "commit": commit(),
        "load": round(os.getloadavg()[1], 1),
        "table": table._asdict(),
        "scale": scale._asdict(),
        "parity": parity,
        "rows": rows,
    }
    write(output, table.name, results, format_table(results))


def write_inputs(folder: Path, data: Path, table: Table, scale: Scale) -> None:
    """Write the reviews and the settings of both sides."""
    n_texts = table.n_docs * (scale.steps + 1)
    records = list(srsly.read_gzip_jsonl(data / "imdb" / "train.jsonl.gz"))
    records = records[: max(n_texts, N_COMPARED)]
    settings = {
        **SIZES,
        **READING,
        "emb_sz": scale.emb_sz,
        "n_hid": scale.n_hid,
        "batch_size": 64,
        "n_docs": table.n_docs,
        "n_compared": N_COMPARED,
        "frozen": table.frozen,
    }
    srsly.write_json(folder / "settings.json", settings)
    srsly.write_json(folder / "texts.json", [record["text"] for record in records])
    # Any truth will do.
    srsly.write_json(folder / "labels.json", [i % 2 for i in range(len(records))])


def compare_scores(folder: Path) -> Dict[str, Any]:
    """Compare tokens and scores with fastai's; end the program if they differ."""
    made = srsly.read_json(folder / "made.json")
    texts = srsly.read_json(folder / "texts.json")
    nlp = load(folder)
    pipe: Any = nlp.get_pipe("ulmfit_textcat")
    tokens = [pipe.lm_tokens(nlp.make_doc(text)).words for text in texts]
    n_equal = sum(own == other for own, other in zip(tokens, made["tokens"]))
    scores = scores_of(nlp, texts[:N_COMPARED])
    gap = largest(scores, made["scores"])
    parity = {
        "fastai": made["fastai"],
        "texts": len(texts),
        "equal tokens": n_equal,
        "largest difference of scores": gap,
        "scores between": [float(numpy.min(scores)), float(numpy.max(scores))],
        BATCHED: largest(made["batch_scores"], made["scores"]),
        "inexact": {
            name: largest(scores_of(load(folder, name), texts[:N_COMPARED]), scores)
            for name in usable_here()
        },
    }
    if gap > EXACT or n_equal < len(texts):
        raise SystemExit(f"This is not the same model as fastai's: {parity}")
    return parity


def scores_of(nlp: Language, texts: Sequence[str]) -> List[List[float]]:
    """Return the scores of texts."""
    return [list(doc.cats.values()) for doc in nlp.pipe(texts)]


def load(folder: Path, precision: Precision = "fp32", cache_mb: int = 0) -> Language:
    """Load the pipeline to predict in some precision, and train with a cache."""
    component = "components.ulmfit_textcat"
    settings = {
        f"{component}.model.precision": precision,
        f"{component}.cache_mb": cache_mb,
    }
    return spacy.load(folder / "pipeline", config=settings)


@app.command()
def serve(folder: Path, side: str) -> None:
    """Take one step for each line on standard input; print what it took."""
    step = SIDES[side](folder)
    print(json.dumps({}), flush=True)
    for line in sys.stdin:
        run_step = step(int(line))
        started, busy = time.perf_counter(), time.process_time()
        run_step()
        seconds = time.perf_counter() - started
        busy = time.process_time() - busy
        print(json.dumps({"seconds": seconds, "cpu_seconds": busy}), flush=True)
    print(json.dumps({"peak_mb": peak_memory()}), flush=True)


# Takes the number of a step, and returns what is timed.
Step = Callable[[int], Callable[[], Any]]


def reading_docs(folder: Path) -> Step:
    """Return what applies the token rules to finished documents."""
    nlp, tokenizer = spacy.blank("en"), create_lm_tokenizer("v2", "en")
    tokenizer.words(nlp.make_doc(""))

    def step(number: int) -> Callable[[], Any]:
        docs = [nlp.make_doc(text) for text in chunk(folder, number)]
        return lambda: [tokenizer.words(doc) for doc in docs]

    return step


def reading_texts(folder: Path) -> Step:
    """Return what makes documents and applies the token rules."""
    nlp, tokenizer = spacy.blank("en"), create_lm_tokenizer("v2", "en")
    tokenizer.words(nlp.make_doc(""))

    def step(number: int) -> Callable[[], Any]:
        texts = chunk(folder, number)
        return lambda: [tokenizer.words(nlp.make_doc(text)) for text in texts]

    return step


def piping(folder: Path, precision: Precision = "fp32") -> Step:
    """Return what scores texts together."""
    nlp = load(folder, precision)
    return lambda number: lambda: list(nlp.pipe(chunk(folder, number)))


def calling(folder: Path, precision: Precision = "fp32") -> Step:
    """Return what scores texts one by one."""
    nlp = load(folder, precision)
    return lambda number: lambda: [nlp(text) for text in chunk(folder, number)]


def updating(folder: Path, cache_mb: int = 0, seen: bool = False) -> Step:
    """Return what learns from a batch, or learns from it once more."""
    nlp = load(folder, cache_mb=cache_mb)
    pipe: Any = nlp.get_pipe("ulmfit_textcat")
    frozen = srsly.read_json(folder / "settings.json")["frozen"]
    pipe.set_trainable_groups(1 if frozen else pipe.n_layer_groups)
    optimizer = Adam(1e-3)
    size = srsly.read_json(folder / "settings.json")["n_docs"]
    labels = srsly.read_json(folder / "labels.json")

    def step(number: int) -> Callable[[], Any]:
        truths = labels[number * size : (number + 1) * size]
        examples = [
            Example.from_dict(nlp.make_doc(text), {"cats": {"a": 1 - b, "b": b}})
            for text, b in zip(chunk(folder, number), truths)
        ]
        if seen:
            nlp.update(examples, sgd=optimizer)
        return lambda: nlp.update(examples, sgd=optimizer)

    return step


SIDES: Dict[str, Callable[[Path], Step]] = {
    "rules": reading_docs,
    "with the Doc": reading_texts,
    "nlp.pipe": piping,
    "nlp(text)": calling,
    "nlp.update": updating,
    FIRST_EPOCH: functools.partial(updating, cache_mb=500),
    LATER_EPOCHS: functools.partial(updating, cache_mb=500, seen=True),
    **{
        f"{side}, {name}": functools.partial(create, precision=name)
        for side, create in (("nlp.pipe", piping), ("nlp(text)", calling))
        for name in INEXACT
    },
}


def chunk(folder: Path, number: int) -> List[str]:
    """Return the reviews of a step."""
    size = srsly.read_json(folder / "settings.json")["n_docs"]
    texts: List[str] = srsly.read_json(folder / "texts.json")
    return texts[number * size : (number + 1) * size]


def largest(found: Any, expected: Any) -> float:
    """Return the largest absolute difference."""
    return float(numpy.abs(numpy.asarray(found) - numpy.asarray(expected)).max())


def write(output: Path, name: str, results: Dict[str, Any], table: str) -> None:
    """Write results and their table, and print it."""
    output.mkdir(parents=True, exist_ok=True)
    srsly.write_json(output / f"classifier-speed-{name}.json", results)
    path = output / f"classifier-speed-{name}.md"
    path.write_text(table, encoding="utf-8")
    typer.echo(table)


def format_table(results: Dict[str, Any]) -> str:
    """Return the table with what it was measured on."""
    header = ["", "docs/s", "times as fast", "by CPU time", "peak memory"]
    rows = [
        [
            row["variant"],
            f"{row['docs_per_second']:,.1f}",
            f"{row['seconds_ratio']:.2f}",
            f"{row['cpu_seconds_ratio']:.2f}",
            f"{row['peak_mb']:,.0f} MB",
        ]
        for row in results["rows"]
    ]
    scale, parity = results["scale"], results["parity"]
    inexact = "".join(
        f" In {name} scores differ from float32 by up to {gap:.1e}."
        for name, gap in parity["inexact"].items()
    )
    return (
        f"{markdown_table(header, rows)}\n"
        f"Sizes {scale['emb_sz']}/{scale['n_hid']}/{SIZES['n_layers']}, "
        f"{SIZES['n_words']:,} words, {scale['threads']} thread(s), medians of "
        f"{scale['steps']} steps of {results['table']['n_docs']} IMDb reviews in turn; load "
        f"of the machine {results['load']}. fastai {parity['fastai']}, torch "
        f"{results['machine']['torch']}. Tokens of {parity['equal tokens']} of "
        f"{parity['texts']} reviews are equal; scores of single reviews differ by up to "
        f"{parity['largest difference of scores']:.1e}, fastai's own, alone and in a "
        f"batch, by {parity[BATCHED]:.1e}.{inexact}\n"
    )


if __name__ == "__main__":
    app()
