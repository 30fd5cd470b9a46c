import hashlib
import shutil
from pathlib import Path

import numpy
import pytest
import spacy

from ..conftest import AWD_LSTM, BILM, create_language_model

SHIPPED = Path(__file__).parent.parent.parent / "assets" / "models"
CONFIGS = {"elmo_tok2vec": BILM, "awd_lstm_tok2vec": AWD_LSTM}
WEIGHTS, SUMS = "model.safetensors", "SHA256SUMS"


@pytest.fixture(params=sorted(CONFIGS))
def component(request):
    return request.param


@pytest.fixture
def stored(component, tmp_path):
    nlp = create_language_model(CONFIGS[component])
    nlp.to_disk(tmp_path / "stored")
    return tmp_path / "stored"


def damage(path):
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def test_a_damaged_file_is_named_and_nothing_is_loaded(component, stored):
    nlp = spacy.load(stored)
    before = nlp.get_pipe(component).to_bytes()
    damage(stored / component / WEIGHTS)
    message = f"{component}.*{WEIGHTS} is not the file that was stored there"
    with pytest.raises(ValueError, match=message):
        nlp.get_pipe(component).from_disk(stored / component, exclude=["vocab"])
    assert nlp.get_pipe(component).to_bytes() == before
    with pytest.raises(ValueError, match=message):
        spacy.load(stored)


def test_the_weights_of_another_model_of_the_same_sizes_are_refused(
    component, stored, tmp_path
):
    other = spacy.load(stored)
    parameter = next(other.get_pipe(component).shim.module.parameters())
    parameter.data.add_(1)
    other.to_disk(tmp_path / "other")
    shutil.copy(tmp_path / "other" / component / WEIGHTS, stored / component / WEIGHTS)
    with pytest.raises(ValueError, match=f"{WEIGHTS} is not the file"):
        spacy.load(stored)
    # As the message says.
    (stored / component / SUMS).unlink()
    found = next(spacy.load(stored).get_pipe(component).shim.module.parameters())
    numpy.testing.assert_array_equal(found.detach(), parameter.detach())


def test_a_missing_file_is_named(component, stored):
    (stored / component / WEIGHTS).unlink()
    with pytest.raises(ValueError, match=f"{component}.*{WEIGHTS} is missing"):
        spacy.load(stored)


def test_damaged_checksums_are_named(component, stored):
    (stored / component / SUMS).write_text("what\n")
    with pytest.raises(ValueError, match=f"{component}.*{SUMS} is damaged"):
        spacy.load(stored)


def test_a_pipeline_can_be_written_over_another(component, stored):
    nlp = spacy.load(stored)
    next(nlp.get_pipe(component).shim.module.parameters()).data.add_(1)
    nlp.to_disk(stored)
    assert spacy.load(stored).get_pipe(component).to_bytes() == (
        nlp.get_pipe(component).to_bytes()
    )


@pytest.mark.parametrize("folder", sorted(path.parent for path in SHIPPED.rglob(SUMS)))
def test_the_shipped_weights_are_those_of_their_checksums(folder):
    lines = (folder / SUMS).read_text().splitlines()
    assert [line.split("  ")[1] for line in lines] == [WEIGHTS]
    digest = hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()
    assert lines[0].split("  ")[0] == digest


def test_all_shipped_weights_have_checksums():
    assert {path.parent for path in SHIPPED.rglob(WEIGHTS)} == {
        path.parent for path in SHIPPED.rglob(SUMS)
    }
