"""What a GPU computes, against a CPU. Skipped where there is none."""

import copy
import json
import signal

import numpy
import pytest
import spacy
import torch
from spacy.cli.train import train
from thinc.api import require_cpu, require_gpu

from spacy_elmo_ulmfit.modules.cuda_graphs import CudaGraph
from spacy_elmo_ulmfit.modules.projected_lstm import ProjectedLSTM
from spacy_elmo_ulmfit.modules.recurrence import activate, compile_activation

from .cli.test_lm import CONFIGS, paths, run, start, wait_for_rows
from .conftest import TEXTS
from .test_configs import CONFIGS as TASK_CONFIGS
from .test_configs import STEPS, corpus, sizes  # noqa: F401
from .util import NO_DROPOUT, tiny_awd_lstm

pytestmark = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="there is no GPU here"
)
GPU, ON_GPU = "cuda", ("--gpu-id", "0")


@pytest.fixture(autouse=True)
def exact_products(monkeypatch):
    """cuDNN rounds the numbers that it multiplies to TensorFloat-32 by default."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


@pytest.fixture
def gpu():
    """Let thinc and torch build everything on the GPU, until the test is over."""
    require_gpu()
    yield
    require_cpu()


@pytest.mark.parametrize("path", ["elmo_path", "awd_lstm_path", "backward_path"])
def test_vectors_are_those_of_the_cpu(path, request, gpu):
    path = request.getfixturevalue(path)
    found = [doc.tensor for doc in spacy.load(path).pipe(TEXTS)]
    require_cpu()
    expected = [doc.tensor for doc in spacy.load(path).pipe(TEXTS)]
    for a, b in zip(found, expected):
        numpy.testing.assert_allclose(a, b, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ["ner_elmo", "ner_elmo_finetuned", "textcat_ulmfit"])
def test_a_pipeline_trained_on_the_gpu_predicts_the_same_on_the_cpu(
    name,
    corpus,  # noqa: F811
    elmo_path,
    awd_lstm_path,
    tmp_path,
):
    path = TASK_CONFIGS / f"{name}.cfg"
    config = spacy.util.load_config(path)
    values = {"train": corpus, "dev": corpus, "elmo": elmo_path}
    values["encoder"] = awd_lstm_path
    overrides = {
        f"paths.{key}": str(value)
        for key, value in values.items()
        if key in config["paths"]
    }
    try:
        train(
            path,
            tmp_path,
            use_gpu=0,
            overrides={**overrides, **sizes(config), **STEPS},
        )
        require_gpu()
        trained = tmp_path / "model-last"
        found = [
            (doc.cats, [str(e) for e in doc.ents])
            for doc in spacy.load(trained).pipe(TEXTS)
        ]
    finally:
        require_cpu()
    for (cats, entities), doc in zip(found, spacy.load(trained).pipe(TEXTS)):
        assert cats == pytest.approx(doc.cats, abs=1e-4)
        assert entities == [str(e) for e in doc.ents]


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("component", list(CONFIGS))
def test_a_language_model_learns_and_is_read_on_a_cpu(
    component, precision, write_text, tmp_path
):
    config = tmp_path / "lm.cfg"
    config.write_text(CONFIGS[component], encoding="utf-8")
    text = write_text(TEXTS * 30)
    run(
        *("pretrain", config, "-o", tmp_path / "out", *paths(text), *ON_GPU),
        *("--lm.max_steps", 40, "--lm.eval_frequency", 20),
        *("--lm.precision", precision, "--lm.n_process", 2),
        *("--lm.logger.output_file", tmp_path / "log.jsonl"),
    )
    lines = (tmp_path / "log.jsonl").read_text("utf-8").splitlines()
    values = [json.loads(line)["perplexity"] for line in lines]
    assert values[-1] < 0.8 * values[0]
    assert spacy.load(tmp_path / "out" / "model-best")("Anna drinks tea").tensor.any()


@pytest.mark.parametrize("component", list(CONFIGS))
def test_a_stopped_run_goes_on(component, write_text, tmp_path):
    config = tmp_path / "lm.cfg"
    config.write_text(CONFIGS[component], encoding="utf-8")
    text = write_text(TEXTS * 30)
    log = tmp_path / "log.jsonl"
    arguments = [
        *("pretrain", config, "-o", tmp_path / "out", *paths(text), *ON_GPU),
        *("--lm.max_steps", 40, "--lm.eval_frequency", 1),
        *("--lm.logger.output_file", log),
    ]
    process = start(*arguments)
    wait_for_rows(process, log, 5)
    process.send_signal(signal.SIGTERM)
    process.communicate()
    run(*arguments, "--resume")
    steps = [json.loads(line)["step"] for line in log.read_text("utf-8").splitlines()]
    assert steps == list(range(41))


def read(layer, inputs, sizes, state):
    """Outputs, last state and all gradients."""
    inputs = inputs.clone().requires_grad_()
    output, last = layer(inputs, sizes, state)
    (output.square().sum() + last[0].sum() + last[1].sum()).backward()
    gradients = [parameter.grad.clone() for parameter in layer.parameters()]
    layer.zero_grad()
    return [output.detach(), *(part.detach() for part in last), inputs.grad, *gradients]


# Regular rows are replayed as a graph from the third call on; cuDNN computes the last.
@pytest.mark.parametrize("sizes", [[4, 4, 4], [4, 3, 1]])
@pytest.mark.parametrize("clips", [(0.3, 0.1), (None, 0.1), (None, None)])
def test_a_recurrence_computes_what_it_does_on_a_cpu(sizes, clips):
    torch.manual_seed(0)
    layer = ProjectedLSTM(5, 8, 4, cell_clip=clips[0], proj_clip=clips[1]).double()
    on_gpu = copy.deepcopy(layer).to(GPU)
    for _ in range(5):
        inputs = torch.randn(sum(sizes), 5).double()
        state = torch.randn(4, 4).double(), torch.randn(4, 8).double()
        expected = read(layer, inputs, sizes, state)
        moved = inputs.to(GPU), sizes, tuple(part.to(GPU) for part in state)
        found = read(on_gpu, *moved)
        for a, b in zip(found, expected):
            torch.testing.assert_close(a.cpu(), b, rtol=0, atol=1e-10)
    is_replayed = sizes[0] == sizes[-1] and any(clips)
    graphs = on_gpu._graphs._graphs.values()
    assert [type(graph) for graph in graphs] == [CudaGraph] * 2 * is_replayed


def test_steps_compile():
    function = compile_activation(torch.device(GPU))
    assert function is not activate


@pytest.mark.parametrize("rnn", ["lstm", "qrnn"])
@pytest.mark.parametrize("is_training", [False, True])
def test_an_awd_lstm_computes_what_it_does_on_a_cpu(rnn, is_training):
    module = tiny_awd_lstm(rnn=rnn, **NO_DROPOUT).train(is_training)
    on_gpu = copy.deepcopy(module).to(GPU)
    ids = torch.randint(0, 13, (3, 9))
    with torch.set_grad_enabled(is_training):
        expected = module.encode(ids, module.zero_state(3)).output
        found = on_gpu.encode(ids.to(GPU), on_gpu.zero_state(3)).output
    torch.testing.assert_close(found.cpu(), expected, rtol=0, atol=1e-5)
