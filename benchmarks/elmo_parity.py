"""How exactly pipelines with published biLMs give the vectors their authors published.

    python benchmarks/elmo_parity.py --data DIR

DIR holds `fixtures/elmo/allennlp`, the test fixture of AllenNLP
(`test_fixtures/elmo`), and `fixtures/elmo/bilm-tf/model`, that of bilm-tf
(`tests/fixtures/model`), each with `derived_layers.npz`: all layers by AllenNLP's
own code, states carried and reset. The vectors were published with states carried
from batch to batch.
"""

import json
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Tuple, cast

import h5py
import numpy
import srsly
import typer
from spacy.language import Language
from spacy.tokens import Doc

from spacy_elmo_ulmfit.checkpoints import read_elmo
from spacy_elmo_ulmfit.pipeline.elmo_tok2vec import ElmoTok2Vec
from spacy_elmo_ulmfit.pipeline.imported import create_elmo_pipeline

RESULTS = Path(__file__).parent / "results"
SETS = {
    "allennlp": ("allennlp", "sentences.json"),
    "bilm-tf": ("bilm-tf/model", "lm_embeddings_sentences.json"),
}
Array = Any
Result = Dict[str, Optional[float]]


def main(
    data: Path = typer.Option(..., help="Folder with fixtures/elmo"),
    output: Path = typer.Option(RESULTS, help="Where to write the results"),
) -> None:
    """Compare both published sets and print the table."""
    results = {name: compare(data / "fixtures" / "elmo", name) for name in SETS}
    output.mkdir(parents=True, exist_ok=True)
    srsly.write_json(output / "elmo-parity.json", results)
    table = format_table(results)
    (output / "elmo-parity.md").write_text(table, encoding="utf-8")
    typer.echo(table)


def compare(fixtures: Path, name: str) -> Result:
    """Measure one set.

    fixtures (Path): Folder of the fixtures.
    name (str): Name of the set.
    RETURNS (Dict[str, Optional[float]]): Largest errors, and mean distances without states.
    """
    subfolder, sentences = SETS[name]
    folder = fixtures / subfolder
    batches = read_batches(folder / sentences)
    derived = numpy.load(folder / "derived_layers.npz")
    carried = read_all(folder, batches, "carry")
    zeros, warm = (read_all(folder, batches, state) for state in ("zeros", "warm"))
    errors: Dict[str, List[float]] = {"top": [], "all": [], "reset": []}
    gaps: Dict[str, List[float]] = {"zeros": [], "warm": []}
    first = 0
    for i, k, published in published_vectors(folder, len(batches), len(batches[0])):
        n_words = len(published)
        stateful = derived[f"b{i}_stateful_layers"][:, k, :n_words]
        reset = derived[f"b{i}_stateless_layers_with_bounds"][:, k, 1 : n_words + 1]
        errors["top"].append(largest(carried[i][k][-1], published))
        errors["all"].append(largest(carried[i][k], stateful))
        errors["reset"].append(largest(zeros[i][k], reset))
        first += i == 0
        for state, layers in (("zeros", zeros), ("warm", warm)):
            gap = float(numpy.abs(layers[i][k][-1] - published).mean())
            gaps[state].insert(0 if i == 0 else len(gaps[state]), gap)
    result: Result = {
        "top layer, states carried": max(errors["top"]),
        "all layers, states carried": max(errors["all"]),
        "all layers, states reset": max(errors["reset"]),
        "token vectors": token_error(folder),
    }
    for state, values in gaps.items():
        # The first batch was published from a state of zeros.
        result[f"distance from {state}"] = float(numpy.mean(values[first:]))
        result[f"distance from {state}, first batch too"] = float(numpy.mean(values))
    return result


def read_batches(path: Path) -> List[List[List[str]]]:
    """Return the batches of sentences: row k of batch i is sentence i of list k."""
    rows = json.loads(path.read_text(encoding="utf-8"))
    return [[sentence.split() for sentence in batch] for batch in zip(*rows)]


def read_all(
    folder: Path, batches: List[List[List[str]]], initial_state: Any
) -> List[List[Array]]:
    """Return all layers of all sentences, as a pipeline gives them batch by batch."""
    nlp = build(folder, initial_state)
    result = []
    for batch in batches:
        docs = [Doc(nlp.vocab, words=words) for words in batch]
        docs = list(nlp.pipe(docs, batch_size=len(docs)))
        result.append([doc._.elmo.layers for doc in docs])
    return result


def build(folder: Path, initial_state: Any) -> Language:
    """Make a pipeline of the published weights."""
    imported = read_elmo(folder)
    return create_elmo_pipeline(
        "en", imported, source=folder.name, initial_state=initial_state
    )


def published_vectors(
    folder: Path, n_batches: int, n_rows: int
) -> Iterator[Tuple[int, int, Array]]:
    """Yield batch, row and the published top layer of its sentence."""
    for k in range(n_rows):
        with h5py.File(folder / f"lm_embeddings_{k}.hdf5") as file:
            for i in range(n_batches):
                yield i, k, numpy.concatenate(file[str(i)][...], axis=1)


def token_error(folder: Path) -> Optional[float]:
    """Return the largest error of context-independent vectors, if there are any."""
    path = folder / "elmo_token_embeddings.hdf5"
    if not path.exists():
        return None
    lines = (folder / "vocab_test.txt").read_text(encoding="utf-8").split("\n")
    words = [line for line in lines if line]
    pipe = cast(ElmoTok2Vec, build(folder, "warm").get_pipe("elmo_tok2vec"))
    with h5py.File(path) as file:
        return largest(
            pipe.shim.encode_words(words).detach().numpy(), file["embedding"]
        )


def largest(found: Array, expected: Array) -> float:
    """Return the largest absolute difference."""
    return float(numpy.abs(numpy.asarray(found) - numpy.asarray(expected)).max())


def format_table(results: Dict[str, Result]) -> str:
    """Return the results as a Markdown table."""
    lines = ["| | " + " | ".join(results) + " |", "| --- |" + " ---: |" * len(results)]
    for name in next(iter(results.values())):
        kind = "max. error, " if "distance" not in name else "mean "
        values = [result[name] for result in results.values()]
        cells = ["none published" if v is None else f"{v:.2e}" for v in values]
        lines.append(f"| {kind}{name} | {' | '.join(cells)} |")
    for which in ("", ", first batch too"):
        ratios = [
            cast(float, result[f"distance from zeros{which}"])
            / cast(float, result[f"distance from warm{which}"])
            for result in results.values()
        ]
        cells = [f"{ratio:.1f}" for ratio in ratios]
        lines.append(f"| zeros / warm{which} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    typer.run(main)
