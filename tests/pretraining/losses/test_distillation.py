"""`lm finetune` with a teacher."""

import io

import pytest
import spacy
import torch
from thinc.api import Config

from spacy_elmo_ulmfit.pretraining.batching.training_text import Position
from spacy_elmo_ulmfit.pretraining.setup import setup_finetuning, setup_pretraining

from ...conftest import TEXTS
from ..watching.test_report import LM, MODELS, QUIET

SMALL = {"elmo_tok2vec": "cell_dim = 7", "awd_lstm_tok2vec": "hidden_dim = 5"}
LARGE = {"elmo_tok2vec": "cell_dim = 12", "awd_lstm_tok2vec": "hidden_dim = 10"}
DISTILLATION = "\n[lm.distillation]\nweight = 0.9\ntemperature = 1.5\n"


@pytest.fixture(params=list(MODELS))
def component(request):
    return request.param


@pytest.fixture
def setup(tmp_path, component, request, write_text):
    """Return a function that prepares a small model's training by a larger one.

    The teacher gets larger random weights, so that it says something.
    """
    name = {"elmo_tok2vec": "elmo_path", "awd_lstm_tok2vec": "awd_lstm_path"}[component]
    teacher = request.getfixturevalue(name)

    def function(folder="run", resume=False, model=None, **settings):
        text = write_text(TEXTS * 10).as_posix()
        model = model or MODELS[component].replace(LARGE[component], SMALL[component])
        config = (
            model + LM.format(text=text, component=component) + QUIET + DISTILLATION
        )
        overrides = {f"lm.{name}": value for name, value in settings.items()}
        trainer = setup_finetuning(
            Config().from_str(config, overrides=overrides, interpolate=False),
            tmp_path / folder,
            source=teacher,
            resume=resume,
        )
        random = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for parameter in trainer.objective.teacher.module.parameters():
                parameter.add_(torch.randn(parameter.shape, generator=random))
        return trainer

    return function


def run(trainer, resume=False):
    trainer.train(resume=resume, stdout=io.StringIO(), stderr=io.StringIO())


def divergence(trainer):
    """Mean divergence from the teacher in the first window, without dropout."""
    objective = trainer.objective
    window = next(trainer.text.following(Position(0, 0, 0))).window
    loss = objective.student.loss
    loss.share, loss.temperature = 1.0, 1.0
    trainer.module.eval()
    with torch.no_grad():
        result = objective.step(window, objective.zero_state(window.batch_size))
    return float(result.losses.sum()) / result.n_targets


def test_a_smaller_model_comes_nearer_to_its_teacher(setup, component):
    before = divergence(setup("before"))
    trainer = setup(max_steps=60, eval_frequency=60, learn_rate=0.02)
    teacher = trainer.objective.teacher.module
    weights = {name: p.clone() for name, p in teacher.named_parameters()}
    run(trainer)
    assert divergence(trainer) < 0.7 * before
    for name, parameter in teacher.named_parameters():
        assert torch.equal(parameter, weights[name]) and parameter.grad is None
    nlp = spacy.load(trainer.output / "model-best")
    student = nlp.get_pipe(component).language_model
    n_weights = sum(p.numel() for p in student.parameters())
    assert n_weights < sum(p.numel() for p in teacher.parameters())
    assert nlp("Anna drinks tea").tensor.any()


def test_a_resumed_student_is_that_of_an_uninterrupted_run(setup):
    settings = {"checkpoint_frequency": 1, "reset_probability": 0.3}
    whole = setup("whole", **settings)
    run(whole)
    run(setup("parts", max_steps=3, **settings))
    resumed = setup("parts", resume=True, **settings)
    run(resumed, resume=True)
    for name, value in whole.module.state_dict().items():
        assert torch.equal(value, resumed.module.state_dict()[name]), name


def test_what_cannot_learn_is_refused(setup, component, tmp_path, write_text):
    with pytest.raises(ValueError, match=r"no \[components"):
        setup(model='[nlp]\nlang = "en"\n')
    other = next(name for name in MODELS if name != component)
    with pytest.raises(ValueError, match="of its own kind"):
        setup(model=MODELS[other].replace(other, component).replace(
            f'factory = "{component}"', f'factory = "{other}"'
        ))  # fmt: skip
    adaptive = MODELS[component] + "softmax_cutoffs = [9]\n"
    with pytest.raises(ValueError, match="adaptive softmax"):
        setup(model=adaptive)
    with pytest.raises(ValueError, match="n_samples = 0"):
        setup(n_samples=3)


def test_pretraining_has_no_teacher(component, tmp_path, write_text):
    text = write_text(TEXTS).as_posix()
    config = MODELS[component] + LM.format(text=text, component=component)
    config = Config().from_str(config + QUIET + DISTILLATION, interpolate=False)
    with pytest.raises(ValueError, match="needs a teacher"):
        setup_pretraining(config, tmp_path / "run")


def test_words_must_be_read_as_the_teacher_does(elmo_path, tmp_path, write_text):
    text = write_text(TEXTS).as_posix()
    config = MODELS["elmo_tok2vec"].replace("max_chars = 12", "max_chars = 9")
    config += LM.format(text=text, component="elmo_tok2vec") + QUIET + DISTILLATION
    config = Config().from_str(config, interpolate=False)
    with pytest.raises(ValueError, match="max_chars"):
        setup_finetuning(config, tmp_path / "run", source=elmo_path)


def test_token_rules_must_be_the_teachers(awd_lstm_path, tmp_path, write_text):
    text = write_text(TEXTS).as_posix()
    config = MODELS["awd_lstm_tok2vec"] + 'tokens = "v1"\n'
    config += LM.format(text=text, component="awd_lstm_tok2vec") + QUIET + DISTILLATION
    config = Config().from_str(config, interpolate=False)
    with pytest.raises(ValueError, match="tokens is 'v1'"):
        setup_finetuning(config, tmp_path / "run", source=awd_lstm_path)
