"""`torchrun -m spacy lm pretrain`: several processes train one language model."""

import os
import subprocess
import sys

import pytest
import srsly

from ..conftest import TEXTS
from .test_lm import CONFIGS, paths

TORCHRUN = ("torch.distributed.run", "--standalone", "--nproc-per-node")


def run(*arguments, n_processes=1, code=0):
    command = [sys.executable, "-m"]
    if n_processes > 1:
        command += [*TORCHRUN, str(n_processes), "-m"]
    command += ["spacy", "lm", *map(str, arguments)]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
    result = subprocess.run(
        command, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert (result.returncode != 0) == (code != 0), result.stdout
    return " ".join(result.stdout.split())


@pytest.fixture
def arguments(tmp_path, write_text):
    text = write_text(TEXTS * 30)

    def function(component, name, steps, *more):
        config = tmp_path / f"{component}.cfg"
        config.write_text(CONFIGS[component], encoding="utf-8")
        return [
            *("pretrain", config, "-o", tmp_path / name, *paths(text)),
            *("--lm.logger.output_file", tmp_path / f"{name}.jsonl"),
            *("--lm.max_steps", steps, "--lm.eval_frequency", "1"),
            # Each process drops other units, so nothing is dropped where runs are compared.
            *("--lm.drop_mult", "0", "--lm.reset_probability", "0.3", *more),
        ]

    return function


def losses(tmp_path, name):
    rows = srsly.read_jsonl(tmp_path / f"{name}.jsonl")
    return {row["step"]: (row.get("loss", 0.0), row["perplexity"]) for row in rows}


@pytest.mark.parametrize("component", list(CONFIGS))
def test_two_processes_train_as_one_and_one_goes_on(component, arguments, tmp_path):
    run(*arguments(component, "one", 8))
    printed = run(*arguments(component, "two", 5), n_processes=2)
    # One process speaks for both.
    assert printed.count("DEV PPL") == printed.count("Saved the pipelines") == 1
    run(*arguments(component, "two", 8), "--resume")
    one, two = losses(tmp_path, "one"), losses(tmp_path, "two")
    assert one.keys() == two.keys() == set(range(9))
    for step in one:
        assert two[step] == pytest.approx(one[step], rel=1e-4)
    # And the other way round.
    run(*arguments(component, "two", 10), "--resume", n_processes=2)
    assert max(losses(tmp_path, "two")) == 10


def test_rows_that_cannot_be_shared_are_refused(arguments):
    settings = arguments("elmo_tok2vec", "odd", 2, "--lm.batch_size", "3")
    printed = run(*settings, n_processes=2, code=1)
    assert "batch_size = 3 rows cannot be divided among 2 processes" in printed
