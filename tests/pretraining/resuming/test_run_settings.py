"""What may differ between a run and its resumption."""

import pytest
from spacy.util import dot_to_object
from thinc.api import Config

from spacy_elmo_ulmfit.pretraining.resuming.run_settings import (
    check_changes,
    run_settings,
)

CONFIG = """
[paths]
train = "text.txt"

[nlp]
lang = "en"

[components]

[components.lm]
factory = "awd_lstm_tok2vec"

[components.lm.model]
@architectures = "spacy-elmo-ulmfit.AWDLSTM.v1"
hidden_dim = 10

[corpora]

[corpora.train]
path = ${paths.train}

[lm]
batch_size = 4
learn_rate = 0.1

[lm.optimizer]
@optimizers = "spacy-elmo-ulmfit.NTASGD.v1"

[training]
max_steps = 7
"""


def settings(*changes):
    """Return the settings of the config with other values at dotted names."""
    config = Config().from_str(CONFIG, interpolate=False)
    for name, value in changes:
        block, key = name.rsplit(".", 1)
        dot_to_object(config, block)[key] = value
    return run_settings(config)


def test_settings_have_names_defaults_and_no_variables():
    found = settings()
    assert found["corpora.train.path"] == "text.txt"
    assert found["lm.keep_checkpoints"] == 1
    assert not any(name.startswith("training") for name in found)


@pytest.mark.parametrize(
    "name, value, shown",
    [
        ("lm.batch_size", 8, "4 -> 8"),
        ("lm.seed", 1, "0 -> 1"),
        ("lm.optimizer.nonmono", 3, "5 -> 3"),
        ("corpora.train.path", "b.txt", '"text.txt" -> "b.txt"'),
        ("components.lm.model.hidden_dim", 20, "10 -> 20"),
    ],
)
def test_what_the_run_is_cannot_change(name, value, shown):
    with pytest.raises(ValueError) as error:
        check_changes(settings(), settings((name, value)))
    assert f"began with other settings: {name}: {shown}." in str(error.value)


def test_what_was_not_written_down_had_its_default():
    """As by a version of the package that did not know the setting."""
    now = settings(
        ("components.lm.cache_mb", 512),
        ("components.lm.model.precision", "fp32"),
        ("components.lm.model.softmax_cutoffs", []),
        ("lm.optimizer.nonmono", 5),
    )
    check_changes(settings(), now)
    check_changes(now, settings())
    with pytest.raises(ValueError, match='precision: "fp32" -> "int8"'):
        check_changes(settings(), {**now, "components.lm.model.precision": "int8"})


def test_all_that_cannot_change_is_named():
    now = settings(("lm.batch_size", 8), ("lm.seed", 2), ("lm.patience", 5))
    with pytest.raises(ValueError, match="size: 4 -> 8; lm.seed: 0 -> 2. Resume"):
        check_changes(settings(), now)


def test_what_may_change_is_logged(caplog):
    now = settings(("lm.learn_rate", {"max_rate": 0.2}), ("lm.patience", 9))
    with caplog.at_level("INFO", logger="spacy"):
        check_changes(settings(), now)
    assert "lm.learn_rate: 0.1 -> not set" in caplog.text
    assert "lm.learn_rate.max_rate: not set -> 0.2" in caplog.text
    assert "lm.patience: 0 -> 9" in caplog.text


def test_equal_settings_say_nothing(caplog):
    with caplog.at_level("INFO", logger="spacy"):
        check_changes(settings(), settings())
    assert not caplog.records
