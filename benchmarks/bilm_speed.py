"""How fast biLMs compute vectors, against the same computed the plain way.

    python benchmarks/bilm_speed.py original --data DATA
    python benchmarks/bilm_speed.py small --data DATA
    python benchmarks/bilm_speed.py limit

DATA is a folder with the data sets, as docs/data.md describes; the text is that of
wiki-featured, the weights are random. Every table is measured in one process, its
variants in turn, by the medians of their times. That vectors agree with those of
`plain_bilm.py` is checked first. Rows named "products" are the matrix products of the
LSTMs and nothing else, as fast as this processor multiplies: but for noise, no variant of
that precision can be faster. Results go to benchmarks/results.
"""

import copy
import functools
import lzma
import os
import statistics
import time
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Sequence, Tuple, cast

import spacy
import srsly
import torch
import torch.nn.functional as F
import typer
from _runs import DATA, RESULTS, commit, machine, markdown_table
from plain_bilm import PlainBiLM
from spacy.language import Language
from spacy.tokens import Doc
from spacy.training import Example
from torch import Tensor

from spacy_elmo_ulmfit.cli._util import select_kernels
from spacy_elmo_ulmfit.layers.bilm import build_bilm_model
from spacy_elmo_ulmfit.layers.bilm_shim import BiLMShim
from spacy_elmo_ulmfit.layers.types import LanguageModelT
from spacy_elmo_ulmfit.modules.packing import PackedLayout
from spacy_elmo_ulmfit.modules.processor import (
    multiplies_bfloat16,
    multiplies_int8,
)
from spacy_elmo_ulmfit.modules.products import (
    PackedProduct,
    Precision,
    TransposedProduct,
    can_pack,
    create_product,
)
from spacy_elmo_ulmfit.modules.projected_lstm import ProjectedLSTM
from spacy_elmo_ulmfit.text.characters import BEGIN_SENTENCE, END_SENTENCE

# The published model of original size (Peters et al. 2018), and the small one.
CHARACTERS = [[1, 32], [2, 32], [3, 64], [4, 128], [5, 256], [6, 512], [7, 1024]]
ORIGINAL: Dict[str, Any] = {
    "filters": CHARACTERS, "n_highway": 2, "cell_dim": 4096, "projection_dim": 512,
}  # fmt: skip
SMALL: Dict[str, Any] = {"filters": CHARACTERS, "cell_dim": 1024, "projection_dim": 128}
PRECISIONS = ("fp32", "bf16", "int8")
# What spaCy's small English pipeline reads words with.
TOK2VEC = {
    "@architectures": "spacy.Tok2Vec.v2",
    "embed": {
        "@architectures": "spacy.MultiHashEmbed.v2",
        "width": 96,
        "attrs": ["NORM", "PREFIX", "SUFFIX", "SHAPE", "SPACY", "IS_SPACE"],
        "rows": [5000, 1000, 2500, 2500, 50, 50],
        "include_static_vectors": False,
    },
    "encode": {
        "@architectures": "spacy.MaxoutWindowEncoder.v2",
        "width": 96,
        "depth": 4,
        "window_size": 1,
        "maxout_pieces": 3,
    },
}
PLAIN = "plain"
REPEATS = typer.Option(5, help="How often each variant is timed")
THREADS = typer.Option(2, help="CPU threads")

Times = Dict[str, List[float]]
app = typer.Typer(help=__doc__, no_args_is_help=True)


@app.command("original")
def original(
    data: Path = DATA,
    words: int = typer.Option(2000, help="Words of the text"),
    single_words: int = typer.Option(300, help="Of these, read one sentence at a time"),
    repeats: int = REPEATS,
    threads: int = THREADS,
) -> None:
    """The biLM of original size: 32 sentences a batch, and one at a time."""
    prepare(threads)
    sentences = list(take(read_sentences(data), words))
    single = list(take(iter(sentences), single_words))
    compare_with_plain("bilm-original", ORIGINAL, sentences, single, repeats, threads)


@app.command("small")
def small(
    data: Path = DATA,
    words: int = typer.Option(20_000, help="Words of the text"),
    repeats: int = REPEATS,
    threads: int = THREADS,
) -> None:
    """The small biLM: as above, and whole pipelines on raw text beside spaCy's own."""
    prepare(threads)
    sentences = list(take(read_sentences(data), words // 4))
    single = list(take(iter(sentences), words // 20))
    compare_with_plain("bilm-small", SMALL, sentences, single, repeats, threads)
    compare_pipelines(list(take(read_paragraphs(data), words)), repeats, threads)


@app.command("limit")
def limit(repeats: int = REPEATS, threads: int = THREADS) -> None:
    """Share of the speed of bare matrix products that the recurrence reaches."""
    prepare(threads)
    rows = [
        share_of_limit(name, sizes, batch, repeats)
        for name, sizes in (("original", ORIGINAL), ("small", SMALL))
        for batch in (32, 128)
    ]
    table = [
        [
            str(row["size"]),
            str(row["batch"]),
            f"{row['product_gflops']:.0f}",
            f"{row['recurrence_gflops']:.0f}",
            f"{row['share']:.0%}",
        ]
        for row in rows
    ]
    header = ["size", "batch", "products, GFLOP/s", "recurrence, GFLOP/s", "share"]
    write("bilm-limit", rows, header, table, threads)


def compare_with_plain(
    name: str,
    sizes: Dict[str, Any],
    sentences: Sequence[Sequence[str]],
    single: Sequence[Sequence[str]],
    repeats: int,
    threads: int,
) -> None:
    """Time all precisions and the plain way on sentences; write the table."""
    models = build_models(sizes)
    plain = PlainBiLM(cast(BiLMShim, models["fp32"].shims[0]).bilm)
    rows: List[Dict[str, Any]] = []
    for title, chosen, size in (
        ("32 sentences", sentences, 32),
        ("one sentence", single, 1),
    ):
        batches = [chosen[i : i + size] for i in range(0, len(chosen), size)]
        inputs = [plain_input(models["fp32"], batch) for batch in batches]
        vocab = spacy.blank("en").vocab
        docs = [[Doc(vocab, words=list(words)) for words in batch] for batch in batches]
        programs: Dict[str, Callable[[], Any]] = {
            PLAIN: functools.partial(read_plainly, plain, inputs)
        }
        for precision, model in models.items():
            programs[precision] = functools.partial(predict, model, docs)
            programs[f"{precision} products"] = multiply_alone(
                model, [lengths for _, lengths in inputs], precision
            )
        agreement = agree(plain, inputs, models, docs)
        times = time_in_turn(programs, repeats)
        n_words = sum(map(len, chosen))
        rows += [
            {
                "batch": title,
                "variant": variant,
                "words_per_second": n_words / statistics.median(seconds),
                "ratio": ratio(times[PLAIN], seconds),
                "seconds": seconds,
                **agreement.get(variant, {}),
            }
            for variant, seconds in times.items()
        ]
    table = [
        [
            row["batch"],
            row["variant"],
            f"{row['words_per_second']:,.0f}",
            f"{row['ratio']:.1f}",
            f"{row['largest']:.1e}" if "largest" in row else "",
            f"{row['relative']:.1e}" if "relative" in row else "",
            f"{row['cosine']:.6f}" if "cosine" in row else "",
        ]
        for row in rows
    ]
    header = [
        "read at a time", "", "words/s", "times as fast", "largest error",
        "relative error", "lowest cosine",
    ]  # fmt: skip
    write(name, rows, header, table, threads)


def multiply_alone(
    model: LanguageModelT, batches: Sequence[List[int]], precision: str
) -> Callable[[], None]:
    """Return what multiplies as the LSTMs do when they read batches of some lengths."""
    bilm = cast(BiLMShim, model.shims[0]).bilm
    layers = [*bilm.forward_layers, *bilm.backward_layers]
    create = functools.partial(create_product, precision=cast(Precision, precision))
    products = [
        [create(layer.weight_ih), create(layer.weight_hh), create(layer.weight_hr)]
        for layer in layers
    ]
    sizes = [PackedLayout.from_lengths(lengths).batch_sizes for lengths in batches]
    n_tokens = max(map(sum, sizes))
    rows = torch.randn(n_tokens, bilm.config.projection_dim)
    cells = torch.randn(max(map(max, sizes)), bilm.config.cell_dim)

    @torch.no_grad()
    def multiply() -> None:
        for batch_sizes in sizes:
            for of_inputs, of_states, projection in products:
                of_inputs(rows[: sum(batch_sizes)])
                for size in batch_sizes:
                    of_states(rows[:size])
                    projection(cells[:size])

    return multiply


def compare_pipelines(texts: Sequence[str], repeats: int, threads: int) -> None:
    """Time pipelines from raw text; write the table."""
    pipelines = {"spaCy's tok2vec": tok2vec_pipeline(texts)}
    for precision in usable_precisions():
        pipelines[f"biLM, {precision}"] = bilm_pipeline(SMALL, precision)
    programs: Dict[str, Callable[[], Any]] = {
        name: functools.partial(read_texts, nlp, texts)
        for name, nlp in pipelines.items()
    }
    times = time_in_turn(programs, repeats)
    n_words = sum(len(text.split()) for text in texts)
    rows: List[Dict[str, Any]] = [
        {
            "pipeline": name,
            "words_per_second": n_words / statistics.median(seconds),
            "ratio": ratio(times["spaCy's tok2vec"], seconds),
            "seconds": seconds,
        }
        for name, seconds in times.items()
    ]
    table = [
        [row["pipeline"], f"{row['words_per_second']:,.0f}", f"{row['ratio']:.2f}"]
        for row in rows
    ]
    header = ["from raw text", "words/s", "times as fast"]
    write("bilm-pipelines", rows, header, table, threads)


def share_of_limit(
    name: str, sizes: Dict[str, Any], batch: int, repeats: int
) -> Dict[str, Any]:
    """Compare a layer's recurrence with its products alone."""
    width, cell_dim = sizes["projection_dim"], sizes["cell_dim"]
    n_steps = 22
    layer = ProjectedLSTM(width, cell_dim, width)
    inputs = torch.randn(n_steps * batch, width)
    state = torch.zeros(batch, width), torch.zeros(batch, cell_dim)
    rows, cells = torch.randn(batch, width), torch.randn(batch, cell_dim)

    def recurrence() -> None:
        layer(inputs, [batch] * n_steps, state)

    def products(kind: Callable[[Tensor], Any]) -> Callable[[], None]:
        matrices = [kind(w.detach()) for w in (layer.weight_ih, layer.weight_hh)]
        projection = kind(cast(Tensor, layer.weight_hr).detach())

        def multiply() -> None:
            for _ in range(n_steps):
                for matrix in matrices:
                    matrix(rows)
                projection(cells)

        return multiply

    programs = {"recurrence": recurrence, "transposed": products(TransposedProduct)}
    if can_pack(torch.float32):
        programs["packed"] = products(
            lambda weight: PackedProduct(weight, dtype=torch.float32)
        )
    with torch.no_grad():
        times = time_in_turn(programs, repeats)
    n_operations = 2 * n_steps * batch * cell_dim * (8 * width + width)
    speeds = {
        name: n_operations / statistics.median(seconds) / 1e9
        for name, seconds in times.items()
    }
    recurrent = speeds.pop("recurrence")
    fastest = max(speeds.values())
    return {
        "size": name,
        "batch": batch,
        "product_gflops": fastest,
        "recurrence_gflops": recurrent,
        "share": recurrent / fastest,
        "products": speeds,
    }


def prepare(threads: int) -> None:
    """Set torch up as a command does."""
    torch.set_num_threads(threads)
    select_kernels(-1)
    torch.manual_seed(0)


def usable_precisions() -> List[str]:
    """Return the precisions that this machine multiplies."""
    usable = {
        "fp32": True,
        "bf16": multiplies_bfloat16(torch.device("cpu")),
        "int8": multiplies_int8(),
    }
    return [precision for precision in PRECISIONS if usable[precision]]


def build_models(sizes: Dict[str, Any]) -> Dict[str, LanguageModelT]:
    """Build a biLM with the same random weights in every precision."""
    models: Dict[str, LanguageModelT] = {}
    module = None
    for precision in usable_precisions():
        model = build_bilm_model(
            **sizes, initial_state="zeros", precision=cast(Any, precision)
        )
        shim = cast(BiLMShim, model.shims[0])
        if module is None:
            module = shim.create(None)
            spread(cast(Any, module))
        else:
            shim.set_module(copy.deepcopy(module), None)
        models[precision] = model
    return models


@torch.no_grad()
def spread(module: torch.nn.Module) -> None:
    """Make cells and outputs reach their bounds now and then, as trained ones do."""
    for name, parameter in module.named_parameters():
        if name.endswith("weight_hr"):
            parameter.mul_(4)


def predict(model: LanguageModelT, batches: Sequence[Sequence[Doc]]) -> List[List[Any]]:
    """Compute all layers; nothing is known of the words from an earlier pass."""
    cast(BiLMShim, model.shims[0]).word_vectors.clear()
    return [model.predict(list(docs)) for docs in batches]


def read_plainly(
    plain: PlainBiLM, inputs: Sequence[Tuple[Tensor, List[int]]]
) -> List[List[Tensor]]:
    """Compute all layers the plain way."""
    return [plain.layers(*batch) for batch in inputs]


def plain_input(
    model: LanguageModelT, sentences: Sequence[Sequence[str]]
) -> Tuple[Tensor, List[int]]:
    """Return what the plain biLM takes of a batch: characters of all words, padded."""
    shim = cast(BiLMShim, model.shims[0])
    marked = [[BEGIN_SENTENCE, *words, END_SENTENCE] for words in sentences]
    lengths = [len(words) for words in marked]
    ids = torch.zeros(len(marked), max(lengths), shim.bilm.config.max_chars).long()
    for row, words in enumerate(marked):
        ids[row, : len(words)] = shim.word_ids(words)
    return ids, lengths


def agree(
    plain: PlainBiLM,
    inputs: Sequence[Tuple[Tensor, List[int]]],
    models: Dict[str, LanguageModelT],
    docs: Sequence[Sequence[Doc]],
) -> Dict[str, Dict[str, float]]:
    """Return how the layers of each precision differ from the plain ones."""
    # Boundaries have no vectors in a Doc.
    expected = torch.cat(
        [layers[:, 1:-1] for batch in read_plainly(plain, inputs) for layers in batch],
        dim=1,
    )
    agreement = {}
    for precision, model in models.items():
        batches = predict(model, docs)
        found = torch.cat(
            [torch.from_numpy(layers) for batch in batches for layers in batch], dim=1
        )
        difference = found - expected
        agreement[precision] = {
            "largest": float(difference.abs().max()),
            "relative": float(difference.norm() / expected.norm()),
            "cosine": float(F.cosine_similarity(found, expected, dim=2).min()),
        }
    if agreement["fp32"]["largest"] > 1e-5:
        raise SystemExit(f"fp32 differs from the plain biLM: {agreement['fp32']}")
    return agreement


def bilm_pipeline(sizes: Dict[str, Any], precision: str = "fp32") -> Language:
    """Return a pipeline with a biLM that has random weights."""
    nlp = spacy.blank("en")
    nlp.add_pipe("sentencizer")
    model = {
        "@architectures": "spacy-elmo-ulmfit.BiLM.v1", **sizes, "precision": precision
    }  # fmt: skip
    component: Any = nlp.add_pipe("elmo_tok2vec", config={"model": model})
    component.shim.create(None)
    return nlp


def tok2vec_pipeline(texts: Sequence[str]) -> Language:
    """Return a pipeline with spaCy's own `tok2vec`."""
    nlp = spacy.blank("en")
    nlp.add_pipe("sentencizer")
    nlp.add_pipe("tok2vec", config={"model": TOK2VEC})
    docs = [nlp.make_doc(text) for text in texts[:2]]
    nlp.initialize(lambda: [Example(doc, doc.copy()) for doc in docs])
    return nlp


def read_texts(nlp: Language, texts: Sequence[str]) -> int:
    """Read texts and return the number of tokens."""
    for _, component in nlp.pipeline:
        shims = getattr(getattr(component, "model", None), "shims", [])
        for shim in shims:
            if isinstance(shim, BiLMShim):
                shim.word_vectors.clear()
    return sum(len(doc) for doc in nlp.pipe(texts))


def read_paragraphs(data: Path) -> Iterator[str]:
    """Yield paragraphs of Wikipedia."""
    with lzma.open(
        data / "wiki-featured" / "valid.txt.xz", "rt", encoding="utf-8"
    ) as lines:
        for line in lines:
            # Titles and headings have no full stop.
            if line.rstrip().endswith("."):
                yield line.rstrip()


def read_sentences(data: Path) -> Iterator[List[str]]:
    """Yield the words of sentences of Wikipedia."""
    nlp = spacy.blank("en")
    nlp.add_pipe("sentencizer")
    for doc in nlp.pipe(read_paragraphs(data)):
        for sentence in doc.sents:
            yield [token.text for token in sentence if not token.is_space]


def take(parts: Iterator[Any], words: int) -> Iterator[Any]:
    """Yield texts or sentences until there are enough words."""
    while words > 0:
        part = next(parts)
        yield part
        words -= len(part.split()) if isinstance(part, str) else len(part)


def time_in_turn(programs: Dict[str, Callable[[], Any]], repeats: int) -> Times:
    """Time programs in turn; the first round is not counted."""
    times: Times = {name: [] for name in programs}
    for number in range(repeats + 1):
        for name, program in programs.items():
            started = time.perf_counter()
            program()
            if number:
                times[name].append(time.perf_counter() - started)
    return times


def ratio(base: Sequence[float], seconds: Sequence[float]) -> float:
    """Return how many times as fast something is, by the median of the rounds."""
    # In pairs, as the machine is not the same all the time.
    return statistics.median(a / b for a, b in zip(base, seconds))


def write(
    name: str,
    rows: List[Dict[str, Any]],
    header: Sequence[str],
    table: Sequence[Sequence[str]],
    threads: int,
) -> None:
    """Write results and print the table."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    about = {
        **machine(),
        "precisions": ", ".join(usable_precisions()),
        "load": f"{os.getloadavg()[1]:.1f}",
    }
    results = {"machine": about, "commit": commit(), "threads": threads, "rows": rows}
    srsly.write_json(RESULTS / f"{name}.json", results)
    note = (
        f"{about['processor']}, {threads} threads, torch {about['torch']}; it "
        f"multiplies {about['precisions']}; load of the machine {about['load']}.\n\n"
    )
    text = note + markdown_table(header, table)
    (RESULTS / f"{name}.md").write_text(text, encoding="utf-8")
    typer.echo(text)


if __name__ == "__main__":
    app()
