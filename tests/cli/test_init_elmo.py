"""`python -m spacy init elmo` and `lm export`, as users call them."""

import os
import subprocess
import sys
from pathlib import Path

import numpy
import pytest
import spacy
import srsly
import torch
from numpy.testing import assert_allclose, assert_array_equal
from spacy.tokens import Doc

from ..conftest import BILM, create_language_model
from ..reference.commands import run
from ..reference.elmo_numpy import (
    ReferenceBiLM,
    read_allennlp,
    read_bilm_tf,
    read_many_langs,
)
from ..reference.files import (
    ALLENNLP_PREFIX,
    DOCUMENTS,
    MANY_LANGS_CONFIG,
    Sizes,
    allennlp_entries,
    nlpl_entries,
    read_hdf5,
    write_bilm_files,
    write_folder,
    write_many_langs,
    write_tar,
    write_token_embeddings,
    write_word_input,
    write_zip,
)

DATA = os.environ.get("SEU_DATA")
FINETUNE = Path(__file__).parents[2] / "configs" / "bilm_finetune.cfg"
SIZES = Sizes(n_highway=2)
WIDTH = 2 * SIZES.projection_dim
WORDS = ["the", "river", "Rome", "日本", "naïve", "\u200b"]


def hdf5(folder):
    files = write_bilm_files(folder / "model", SIZES)
    return [folder / "model"], read_bilm_tf(files.options, files.weights)


def options_and_weights(folder):
    files = write_bilm_files(folder / "model", SIZES, prefix="elmo_tiny_")
    arguments = [files.options, "--weights", files.weights]
    return arguments, read_bilm_tf(files.options, files.weights)


def weights_and_options(folder):
    files = write_bilm_files(folder / "model", SIZES, prefix="elmo_tiny_")
    arguments = [files.weights, "--options", files.options]
    return arguments, read_bilm_tf(files.options, files.weights)


def word_input(folder):
    files = write_word_input(folder / "model", WORDS, SIZES)
    return [folder / "model"], read_bilm_tf(*files)


def word_input_with_vocab(folder):
    files = write_word_input(folder / "model", WORDS, SIZES)
    vocab = files.vocab.rename(folder / "words.txt")
    reference = read_bilm_tf(files.options, files.weights, vocab)
    return [folder / "model", "--vocab", vocab], reference


def nlpl_zip(folder):
    entries = nlpl_entries(SIZES, words=WORDS)
    unpacked = write_folder(folder / "unpacked", entries)
    reference = read_bilm_tf(unpacked / "options.json", unpacked / "model.hdf5")
    return [write_zip(folder / "999.zip", entries)], reference


def nlpl_folder(folder):
    unpacked = write_folder(folder / "999", nlpl_entries(SIZES, words=WORDS))
    reference = read_bilm_tf(unpacked / "options.json", unpacked / "model.hdf5")
    return [unpacked], reference


def allennlp_archive(folder):
    arguments, reference = allennlp_folder(folder)
    entries = allennlp_entries(SIZES, options="archived")
    return [write_tar(folder / "model.tar.gz", entries)], reference


def allennlp_folder(folder):
    unpacked = write_folder(folder / "run", allennlp_entries(SIZES))
    prefix = f"{ALLENNLP_PREFIX}_elmo_lstm."
    options, weights = unpacked / "options.json", unpacked / "weights.th"
    return [unpacked], read_allennlp(options, weights, prefix=prefix)


def allennlp_state_dict(folder):
    arguments, reference = allennlp_folder(folder)
    best = (folder / "run" / "weights.th").rename(folder / "best.th")
    return [best, "--options", folder / "run" / "options.json"], reference


def many_langs(folder):
    model = write_many_langs(folder / "model", SIZES)
    return [model], read_many_langs(model, model / MANY_LANGS_CONFIG)


def many_langs_characters(folder):
    model = write_many_langs(folder / "model", SIZES, word_dim=0, config="missing")
    return [model], read_many_langs(model)


LAYOUTS = [
    hdf5,
    options_and_weights,
    weights_and_options,
    word_input,
    word_input_with_vocab,
    nlpl_zip,
    nlpl_folder,
    allennlp_archive,
    allennlp_folder,
    allennlp_state_dict,
    many_langs,
    many_langs_characters,
]


def init(arguments, output, *more):
    run("init", "elmo", "en", *arguments, output, *more)
    return spacy.load(output)


def expected_layers(reference: ReferenceBiLM, doc: Doc, sentences=None):
    """A row for each token, zeros for white space, which no model has read."""
    layers = numpy.zeros((len(reference.forward_layers) + 1, len(doc), WIDTH))
    for sentence in sentences or [list(doc)]:
        words = [token for token in sentence if not token.text.isspace()]
        if words:
            rows = [token.i for token in words]
            layers[:, rows] = reference.layers([token.text for token in words])
    return layers


def documents(nlp):
    return [Doc(nlp.vocab, words=words) for words in DOCUMENTS]


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.__name__)
def test_every_layout_gives_the_published_vectors(layout, tmp_path):
    arguments, reference = layout(tmp_path)
    nlp = init(arguments, tmp_path / "out", "--initial-state", "zeros")
    assert nlp.lang == "en" and nlp.pipe_names == ["elmo_tok2vec"]
    docs = documents(nlp)
    for doc in nlp.pipe(docs, batch_size=3):
        expected = expected_layers(reference, doc)
        found = doc._.elmo.layers
        assert found.shape == expected.shape and found.dtype == numpy.float32
        assert_allclose(found, expected, rtol=0, atol=1e-5, err_msg=doc.text)
        spaces = [token.i for token in doc if token.is_space]
        assert not found[:, spaces].any()
    # Nothing of the import is needed once it is done.
    nlp.to_disk(tmp_path / "copy")
    for path in sorted(tmp_path.glob("[!c]*")):
        path.rename(tmp_path / f"c_{path.name}")
    again = spacy.load(tmp_path / "copy")
    for doc, other in zip(docs, again.pipe(documents(again), batch_size=3)):
        assert_array_equal(doc._.elmo.layers, other._.elmo.layers)


@pytest.mark.parametrize(
    "layout", [hdf5, word_input, allennlp_archive, many_langs], ids=lambda x: x.__name__
)
def test_carried_states(layout, tmp_path):
    """Row k of a batch goes on where row k of the batch before ended."""
    arguments, reference = layout(tmp_path)
    nlp = init(arguments, tmp_path / "out", "--initial-state", "carry")
    words = [words for words in DOCUMENTS if any(not w.isspace() for w in words)]
    batches = [words[:2], words[2:5], words[:1], [*words[3:5], words[0]], words[:3]]

    def assert_carried():
        for batch, expected in zip(batches, reference.carried(visible(batches))):
            docs = [Doc(nlp.vocab, words=words) for words in batch]
            docs = list(nlp.pipe(docs, batch_size=len(docs)))
            for doc, layers in zip(docs, expected):
                rows = [token.i for token in doc if not token.is_space]
                found = doc._.elmo.layers[:, rows]
                # Random recurrences make the rounding of a word's vector (6e-7) twenty
                # times as large until the last batch.
                assert_allclose(found, layers, rtol=0, atol=5e-5, err_msg=doc.text)

    assert_carried()
    nlp.get_pipe("elmo_tok2vec").reset_state()
    assert_carried()


def visible(batches):
    return [[[w for w in words if not w.isspace()] for words in b] for b in batches]


def test_carried_rows_are_sequences_not_documents(tmp_path):
    """A document of two sentences is two rows; one without words is none."""
    arguments, reference = hdf5(tmp_path)
    nlp = init(arguments, tmp_path / "out", "--initial-state", "carry")
    one, two, three = ["the", "sea"], ["Rome", "is", "wide"], ["a", "river", "."]
    first = Doc(nlp.vocab, words=[*one, *two], sent_starts=[1, 0, 1, 0, 0])
    docs = [first, Doc(nlp.vocab), Doc(nlp.vocab, words=three)]
    expected = reference.carried([[one, two, three], [three, one]])
    list(nlp.pipe(docs, batch_size=3))
    assert_allclose(
        first._.elmo.layers, numpy.concatenate(expected[0][:2], axis=1), atol=1e-5
    )
    assert_allclose(docs[2]._.elmo.layers, expected[0][2], atol=1e-5)
    docs = [
        Doc(nlp.vocab, words=["\n"]),
        *(Doc(nlp.vocab, words=w) for w in [three, one]),
    ]
    list(nlp.pipe(docs, batch_size=3))
    for doc, layers in zip(docs[1:], expected[1]):
        assert_allclose(doc._.elmo.layers, layers, atol=1e-5)


def test_sentences_are_read_one_by_one(tmp_path):
    arguments, reference = hdf5(tmp_path)
    nlp = init(arguments, tmp_path / "out", "--initial-state", "zeros")
    words = ["\n", "the", "sea", ".", "Rome", "\n", "is", "wide", "\n"]
    starts = [i in (0, 4, 8) for i in range(len(words))]
    doc = nlp(Doc(nlp.vocab, words=words, sent_starts=starts))
    expected = expected_layers(reference, doc, list(doc.sents))
    assert_allclose(doc._.elmo.layers, expected, rtol=0, atol=1e-5)


def test_boundaries_can_be_kept(tmp_path):
    """There are two for each sentence."""
    arguments, reference = hdf5(tmp_path)
    run("init", "elmo", "en", *arguments, tmp_path / "out", "--initial-state", "zeros")
    model = {"keep_sentence_boundaries": True}
    config = {"components": {"elmo_tok2vec": {"model": model}}}
    nlp = spacy.load(tmp_path / "out", config=config)
    doc = nlp(Doc(nlp.vocab, words=["the", "\n", "sea"]))
    layers, _ = reference.read(["the", "sea"])
    found = doc._.elmo.layers
    assert_allclose(found[:, [0, 2]], layers[:, 1:-1], rtol=0, atol=1e-5)
    assert not found[:, 1].any()
    assert_allclose(doc._.elmo.boundaries, layers[:, [0, -1]], rtol=0, atol=1e-5)


def test_warm_is_the_default_and_near_to_what_old_tools_computed(tmp_path):
    """A stored state, the same for every text, that is not all zeros."""
    arguments, reference = hdf5(tmp_path)
    nlp = init(arguments, tmp_path / "out")
    config = nlp.config["components"]["elmo_tok2vec"]["model"]
    assert config["initial_state"] == "warm"
    first, second = (nlp(Doc(nlp.vocab, words=DOCUMENTS[0])) for _ in range(2))
    assert_array_equal(first._.elmo.layers, second._.elmo.layers)
    zeros = reference.layers(DOCUMENTS[0])
    assert_allclose(first._.elmo.layers[0], zeros[0], rtol=0, atol=1e-5)
    assert abs(first._.elmo.layers[1:] - zeros[1:]).max() > 1e-2


@pytest.mark.parametrize("layout", [hdf5, options_and_weights, nlpl_zip])
def test_export_gives_back_what_was_imported(layout, tmp_path):
    arguments, reference = layout(tmp_path)
    init(arguments, tmp_path / "out", "--initial-state", "zeros")
    exported = tmp_path / "exported"
    run("lm", "export", tmp_path / "out", exported, "--format", "bilm-tf")
    source = next(path for path in tmp_path.glob("[mu]*/*.hdf5"))
    found, expected = read_hdf5(exported / "weights.hdf5"), read_hdf5(source)
    assert sorted(found) == sorted(expected)
    for name, array in expected.items():
        assert_array_equal(found[name], array, err_msg=name)
    again = read_bilm_tf(exported / "options.json", exported / "weights.hdf5")
    for words in DOCUMENTS:
        assert_array_equal(again.layers(words), reference.layers(words))


def test_an_exported_word_model_has_its_vocabulary(tmp_path):
    arguments, reference = word_input(tmp_path)
    init(arguments, tmp_path / "out")
    exported = tmp_path / "exported"
    run("lm", "export", tmp_path / "out", exported, "--format", "bilm-tf")
    vocab = (exported / "vocab.txt").read_bytes()
    assert vocab == (tmp_path / "model" / "vocab.txt").read_bytes()
    again = read_bilm_tf(
        exported / "options.json", exported / "weights.hdf5", exported / "vocab.txt"
    )
    for words in DOCUMENTS:
        assert_array_equal(again.layers(words), reference.layers(words))


def finetune(source, output):
    text = output.with_suffix(".txt")
    text.write_text("The river near Rome is wide .\nTea is hot .\n" * 40, "utf-8")
    steps = ["--lm.max_steps", "2", "--lm.eval_frequency", "2", "--lm.min_freq", "1"]
    arguments = ["--from", source, "--output", output, *steps]
    arguments += ["--paths.train", text, "--paths.dev", text]
    run("lm", "finetune", FINETUNE, *arguments, "--lm.logger.progress_bar", "false")
    return output / "model-best"


def assert_same_predictions(one, two, atol=0.0):
    """Vectors, words in a word's place, and how often these were seen."""
    pipes = [nlp.get_pipe("elmo_tok2vec") for nlp in (one, two)]
    assert pipes[0].vocabulary.to_json() == pipes[1].vocabulary.to_json()
    for words in DOCUMENTS:
        docs = [nlp(Doc(nlp.vocab, words=words)) for nlp in (one, two)]
        found, expected = (doc._.elmo.layers for doc in docs)
        assert_allclose(found, expected, rtol=0, atol=atol)
        found, expected = (
            [item and [p for _, p in item.both] for item in pipe.substitutes(doc)]
            for pipe, doc in zip(pipes, docs)
        )
        for candidates, others in zip(found, expected):
            assert (candidates is None) == (others is None)
            if others is not None:
                assert_allclose(candidates, others, rtol=0, atol=100 * atol)


@pytest.mark.parametrize(
    "layout", [hdf5, word_input, allennlp_archive], ids=lambda layout: layout.__name__
)
def test_a_finetuned_bilm_survives_export_and_import(layout, tmp_path):
    arguments, _ = layout(tmp_path)
    init(arguments, tmp_path / "out")
    tuned = finetune(tmp_path / "out", tmp_path / "tuned")
    exported = tmp_path / "exported"
    run("lm", "export", tuned, exported, "--format", "bilm-tf")
    again = init([exported], tmp_path / "again")
    first = spacy.load(tmp_path / "out")
    before, after = (
        nlp(Doc(nlp.vocab, words=DOCUMENTS[0]))._.elmo.layers for nlp in (first, again)
    )
    assert abs(before - after).max() > 1e-4
    # AllenNLP has the 1 of the forget gate in its bias, bilm-tf adds it: it is rounded.
    atol = 1e-5 if layout is allennlp_archive else 0.0
    assert_same_predictions(spacy.load(tuned), again, atol)
    run("lm", "export", tmp_path / "again", tmp_path / "twice", "--format", "bilm-tf")
    for path in sorted(exported.iterdir()):
        assert path.read_bytes() == (tmp_path / "twice" / path.name).read_bytes()
    words = {path.name for path in exported.iterdir()} - {"options.json"}
    names = {"weights.hdf5", "vocab.txt"}
    assert words == (names | {"softmax_vocab.txt"} if layout is word_input else names)


WORDS_READ = "filters = []\nword_dim = 6\n"


@pytest.mark.parametrize(
    "settings",
    [
        "",
        "bidirectional = false\n",
        WORDS_READ,
        WORDS_READ + "tie_softmax = true\n",
    ],
    ids=["characters", "forward", "words", "tied softmax"],
)
def test_a_bilm_pretrained_here_survives_export_and_import(settings, tmp_path):
    config = BILM.replace("filters = [[1,4],[2,4],[3,8]]\n", "")
    filters = "" if "filters" in settings else "filters = [[1,4],[2,4],[3,8]]\n"
    nlp = create_language_model(config + filters + settings)
    nlp.to_disk(tmp_path / "own")
    exported = tmp_path / "exported"
    run("lm", "export", tmp_path / "own", exported, "--format", "bilm-tf")
    again = init([exported], tmp_path / "again")
    assert_same_predictions(nlp, again, atol=1e-5)


def test_a_softmax_needs_its_own_words(tmp_path):
    arguments, _ = word_input(tmp_path)
    init(arguments, tmp_path / "out")
    tuned = finetune(tmp_path / "out", tmp_path / "tuned")
    exported = tmp_path / "exported"
    run("lm", "export", tuned, exported, "--format", "bilm-tf")
    (exported / "softmax_vocab.txt").unlink()
    printed = run("init", "elmo", "en", exported, tmp_path / "again", code=1)
    assert "weights.hdf5 predicts" in printed and "softmax_vocab.txt" in printed
    assert not (tmp_path / "again").exists()


def test_options_can_have_any_name(tmp_path):
    files = write_bilm_files(tmp_path / "model", SIZES)
    options = files.options.rename(tmp_path / "small.json")
    init([options, "--weights", files.weights], tmp_path / "out")


def test_neutral_sentences_of_the_user(tmp_path):
    """White space between their words is not read, as in documents."""
    arguments, _ = hdf5(tmp_path)
    layers = []
    for number, text in enumerate(["Rome is wide .", " Rome  is wide .\r", "A sea ."]):
        path = tmp_path / f"{number}.txt"
        path.write_text(f"{text}\n\n", "utf-8")
        nlp = init(arguments, tmp_path / f"out_{number}", "--warm-text", path)
        layers.append(nlp(Doc(nlp.vocab, words=DOCUMENTS[0]))._.elmo.layers)
    assert_array_equal(layers[0], layers[1])
    assert abs(layers[0] - layers[2]).max() > 1e-4


def test_neutral_sentences_that_are_no_text_are_named(tmp_path):
    arguments, _ = hdf5(tmp_path)
    path, output = tmp_path / "warm.txt", tmp_path / "out"
    more = ["--warm-text", path]
    assert "warm.txt" in run("init", "elmo", "en", *arguments, output, *more, code=1)
    path.write_bytes("Naïve .\n".encode("latin-1"))
    printed = run("init", "elmo", "en", *arguments, output, *more, code=1)
    assert "warm.txt is not UTF-8" in printed
    path.write_text("\n \n")
    assert "no sentence" in run("init", "elmo", "en", *arguments, output, *more, code=1)
    assert not output.exists()


def test_what_is_no_older_output_is_not_overwritten(tmp_path):
    arguments, _ = hdf5(tmp_path)
    init(arguments, tmp_path / "pipeline")
    export = ["lm", "export", tmp_path / "pipeline"]
    thesis = tmp_path / "thesis"
    thesis.mkdir()
    # An empty directory, and an older output.
    for _ in range(2):
        init(arguments, thesis / "pipeline")
        run(*export, thesis / "exported", "--format", "bilm-tf")
    for output in (thesis, arguments[0] / "options.json"):
        for command in (["init", "elmo", "en", *arguments, output], [*export, output]):
            more = ["--format", "bilm-tf"] if "export" in command else []
            assert output.name in run(*command, *more, code=1)
    assert sorted(path.name for path in thesis.iterdir()) == ["exported", "pipeline"]
    assert (arguments[0] / "options.json").is_file()


def test_a_model_of_many_langs_is_not_exported(tmp_path):
    arguments, _ = many_langs(tmp_path)
    init(arguments, tmp_path / "out")
    exported = tmp_path / "exported"
    printed = run(
        "lm", "export", tmp_path / "out", exported, "--format", "bilm-tf", code=1
    )
    assert "Traceback" not in printed and "bilm-tf" in printed
    assert not exported.exists()


def test_token_embeddings_are_the_vectors_of_their_words(tmp_path):
    """Rows of other numbers than the characters give: they are what is used."""
    files = write_bilm_files(tmp_path / "model", SIZES)
    words = [*WORDS, "is", "wide", "."]
    (tmp_path / "vocab.txt").write_text(
        "".join(f"{word}\n" for word in ("<S>", "</S>", "<UNK>", *words)), "utf-8"
    )
    path = tmp_path / "elmo_token_embeddings.hdf5"
    write_token_embeddings(path, 3 + len(words), SIZES)
    nlp = init(
        [tmp_path / "model"],
        tmp_path / "out",
        *("--vocab", tmp_path / "vocab.txt", "--token-embeddings", path),
        *("--initial-state", "zeros"),
    )
    reference = read_bilm_tf(files.options, files.weights)
    rows = dict(zip(["<S>", "</S>", "<UNK>", *words], read_hdf5(path)["embedding"]))
    reference.token_vector = lambda word: rows[word].astype(float)
    for known in (["the", "river", "is", "wide", "."], ["日本", "naïve", "<S>"]):
        doc = nlp(Doc(nlp.vocab, words=known))
        expected = reference.layers(known)
        assert_allclose(doc._.elmo.layers, expected, rtol=0, atol=1e-5)


def test_half_precision_storage(tmp_path):
    arguments, reference = hdf5(tmp_path)
    more = ["--initial-state", "zeros", "--storage", "float16"]
    nlp = init(arguments, tmp_path / "half", *more)
    init(arguments, tmp_path / "full", *more[:2])
    sizes = [
        (tmp_path / name / "elmo_tok2vec" / "model.safetensors").stat().st_size
        for name in ("half", "full")
    ]
    assert sizes[0] < 0.7 * sizes[1]
    doc = nlp(Doc(nlp.vocab, words=DOCUMENTS[0]))
    expected = reference.layers(DOCUMENTS[0])
    assert_allclose(doc._.elmo.layers, expected, rtol=0, atol=0.05)


def test_int8_storage(tmp_path):
    sizes = Sizes(char_dim=16, dim=128, projection_dim=64)
    files = write_bilm_files(tmp_path / "model", sizes)
    reference = read_bilm_tf(files.options, files.weights)
    more = ["--initial-state", "zeros", "--storage"]
    bytes_of = {}
    for storage in ("float32", "int8"):
        nlp = init([tmp_path / "model"], tmp_path / storage, *more, storage)
        path = tmp_path / storage / "elmo_tok2vec" / "model.safetensors"
        bytes_of[storage] = path.stat().st_size
    assert bytes_of["int8"] < 0.3 * bytes_of["float32"]
    doc = nlp(Doc(nlp.vocab, words=DOCUMENTS[0]))
    # Random weights saturate the layers above: the lowest is what can be compared.
    expected = reference.layers(DOCUMENTS[0])[0]
    assert_allclose(doc._.elmo.layers[0], expected, rtol=0, atol=0.02 * expected.max())
    # Its vectors go the way back to the older tools as they are.
    exported = tmp_path / "exported"
    run("lm", "export", tmp_path / "int8", exported, "--format", "bilm-tf")
    again = init([exported], tmp_path / "again", *more, "int8")
    found = again(Doc(again.vocab, words=DOCUMENTS[0]))
    assert_allclose(found._.elmo.layers, doc._.elmo.layers, rtol=0, atol=1e-3)


@pytest.mark.parametrize("kind", ["pth", "npy"])
def test_alignment_maps_the_mixed_vectors(kind, tmp_path):
    """As AllenNLP's multilingual embedder: matrix @ vector, after the mix."""
    arguments, reference = hdf5(tmp_path)
    matrix = numpy.random.default_rng(0).normal(size=(WIDTH, WIDTH)).astype("float32")
    if kind == "pth":
        path = tmp_path / "align.pth"
        torch.save(torch.tensor(matrix), path)
    else:
        path = tmp_path / "align.npy"
        numpy.save(path, matrix)
    more = ["--initial-state", "zeros", "--alignment", path]
    nlp = init(arguments, tmp_path / "out", *more)
    doc = nlp(Doc(nlp.vocab, words=DOCUMENTS[0]))
    expected = reference.layers(DOCUMENTS[0]) @ matrix.T
    assert_allclose(doc.tensor, expected.mean(axis=0), rtol=0, atol=1e-4)


def test_words_of_the_tokenizer_are_what_the_model_reads(tmp_path):
    """The README's way: a text, the language's own tokenizer."""
    arguments, reference = hdf5(tmp_path)
    nlp = init(arguments, tmp_path / "out", "--initial-state", "zeros")
    doc = nlp("Rome isn't wide.\n\nThe sea is")
    assert [t.text for t in doc][:4] == ["Rome", "is", "n't", "wide"]
    assert_allclose(
        doc._.elmo.layers, expected_layers(reference, doc), rtol=0, atol=1e-5
    )
    assert_allclose(doc.tensor, doc._.elmo.layers.mean(axis=0), rtol=0, atol=1e-5)


def test_the_command_works_in_a_process_of_its_own(tmp_path):
    """As typed into a terminal; no traceback where it cannot work."""
    arguments, _ = hdf5(tmp_path)

    def process(*arguments):
        return subprocess.run(
            [sys.executable, "-m", "spacy", "init", "elmo", *map(str, arguments)],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )

    good = process("en", *arguments, tmp_path / "out")
    assert good.returncode == 0, good.stdout
    assert str(tmp_path / "out") in good.stdout.replace("\n", "")
    assert spacy.load(tmp_path / "out")("Rome")._.elmo.layers.any()
    bad = process("en", tmp_path / "nowhere", tmp_path / "other")
    assert bad.returncode == 1 and "Traceback" not in bad.stdout
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    "name, sentences",
    [
        ("allennlp", "sentences.json"),
        ("bilm-tf/model", "lm_embeddings_sentences.json"),
    ],
)
def test_published_fixtures_with_carried_states(name, sentences, tmp_path):
    """The published vectors themselves, from the command to the documents."""
    if not DATA:
        pytest.skip("SEU_DATA is not set: no published fixtures")
    folder = Path(DATA) / "fixtures" / "elmo" / name
    if not folder.exists():
        pytest.skip(f"SEU_DATA holds no {name} fixture")
    arguments = [folder / "options.json", "--weights", folder / "lm_weights.hdf5"]
    nlp = init(arguments, tmp_path / "out", "--initial-state", "carry")
    published = [read_hdf5(folder / f"lm_embeddings_{row}.hdf5") for row in range(3)]
    texts = srsly.read_json(folder / sentences)
    for number, batch in enumerate(zip(*texts)):
        docs = [Doc(nlp.vocab, words=text.split()) for text in batch]
        for row, doc in enumerate(nlp.pipe(docs, batch_size=3)):
            top = numpy.concatenate(published[row][str(number)], axis=1)
            assert_allclose(doc._.elmo.layer(-1), top, rtol=0, atol=1e-5)
