"""An encoder of the operator's own: read by its manifest, cached, asked for a second opinion, and never needed."""

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import onnx
import pytest
import tokenizers
from onnx import TensorProto, helper, numpy_helper

from mailrouter import check, classify, stacking, training
from mailrouter.classify import Query, encoder, model
from mailrouter.classify.encoder import EncoderError
from mailrouter.config import Classify, Settings
from mailrouter.learning import Examples
from tests.test_classify_training import WORDS, settings, trained

__all__ = ["settings"]  # the fixture with a small city

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
STRANGE = {"gatubelysning": "zymurgilampett", "bibliotek": "xyzzybibla", "sophamtning": "quuxskräp"}
DIMENSION = 4


def install(models: Path, **changes: object) -> Path:
    """A tiny encoder that knows which words are akin: one row of a table for each word, no context."""
    folder = models / encoder.FOLDER
    folder.mkdir(exist_ok=True)
    words = {"<pad>": 0, "<unk>": 1}
    table = [np.zeros(DIMENSION), np.full(DIMENSION, 0.01)]
    for place, (area, known) in enumerate(WORDS.items()):
        for word in (*known, STRANGE[area]):
            words[word] = len(words)
            table.append(np.eye(DIMENSION)[place])
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="<unk>"))
    tokenizer.normalizer = tokenizers.normalizers.Lowercase()
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))
    graph = helper.make_graph(
        [helper.make_node("Gather", ["table", "input_ids"], ["last_hidden_state"])],
        "words",
        [helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["texts", "tokens"])],
        [helper.make_tensor_value_info("last_hidden_state", TensorProto.FLOAT, ["texts", "tokens", DIMENSION])],
        [numpy_helper.from_array(np.array(table, dtype=np.float32), "table")],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(made, str(folder / "words.onnx"))
    sha256 = hashlib.sha256((folder / "words.onnx").read_bytes()).hexdigest()
    manifest = {"name": "words", "onnx": "words.onnx", "sha256": sha256, "dimension": DIMENSION, "max_tokens": 16}
    (folder / encoder.MANIFEST).write_text(json.dumps(manifest | changes), encoding="utf-8")
    return folder


def areas(settings: Classify, *texts: str) -> list[str]:
    """What the version in use says of texts."""
    found = classify.load(settings).classify([Query(str(key), "", text) for key, text in enumerate(texts)], NOW.date())
    return [verdict.area for verdict in found]


def test_vectors_are_pooled_and_scaled(tmp_path: Path) -> None:
    """Padding counts nothing, unknown words little, and each vector has length one."""
    install(tmp_path)
    found = encoder.load(tmp_path)
    assert found is not None
    vectors = found.encode(["lampan", "Boken och lånekortet i biblioteket, romanen", ""])
    assert np.linalg.norm(vectors, axis=1)[:2] == pytest.approx([1.0, 1.0])
    assert [int(vector.argmax()) for vector in vectors[:2]] == [0, 1]
    assert vectors[0] == pytest.approx(found.encode(["lampan"])[0])
    install(tmp_path, pooling="cls", normalise=False)
    first = encoder.load(tmp_path)
    assert first is not None
    assert first.encode(["boken lampan"])[0].tolist() == [0.0, 1.0, 0.0, 0.0]


def test_vectors_are_made_once(tmp_path: Path) -> None:
    """What was met before is read from a file without texts; another encoder does not read it."""
    folder = install(tmp_path)
    found = encoder.load(tmp_path)
    assert found is not None
    texts = ["lampan", "boken", "lampan", "en zebra"]
    first = found.encode_cached(texts)
    assert first == pytest.approx(found.encode(texts), abs=1e-3)
    silent = encoder.Encoder(found.manifest, folder, None, None)  # cannot encode: every vector must be known
    assert np.array_equal(silent.encode_cached(texts), first)
    assert b"zebra" not in (folder / encoder.CACHE).read_bytes()
    with pytest.raises(AttributeError):
        silent.encode_cached(["nytt"])


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"sha256": "0" * 64}, "the hash differs"),
        ({"onnx": "gone.onnx"}, "cannot read the encoder's file"),
        ({"pooling": "max"}, "pooling"),
        ({"dimensions": 3}, "dimensions"),
    ],
)
def test_an_unsound_encoder_is_refused(tmp_path: Path, changes: dict[str, object], sentence: str) -> None:
    """A file that is not what the manifest describes, or a manifest that says nonsense, is a sentence."""
    install(tmp_path, **changes)
    with pytest.raises(EncoderError, match=sentence):
        encoder.load(tmp_path)


def test_the_check_finds_an_unsound_encoder(settings: Classify) -> None:
    """`mailrouter check` and the start say what is wrong before a mail finds out."""
    trained(settings)
    install(settings.models, sha256="0" * 64)
    assert any("the hash differs" in sentence for sentence in check.start_problems(Settings(classify=settings)))


def test_vectors_of_another_size_are_refused(tmp_path: Path) -> None:
    """The manifest must know its encoder's dimension."""
    install(tmp_path, dimension=7)
    found = encoder.load(tmp_path)
    assert found is not None
    with pytest.raises(EncoderError, match="not what the manifest says"):
        found.encode(["lampan"])


def test_without_an_encoder_nothing_changes(settings: Classify) -> None:
    """No manifest, no second opinion: the same version as ever."""
    before = trained(settings)
    assert encoder.load(settings.models) is None
    assert not (settings.models / before.version / encoder.DENSE_CARD).exists()
    assert "kodare" not in classify.load(settings).by


def test_an_encoder_brings_what_no_mail_taught(settings: Classify) -> None:
    """Words that no labelled mail has are judged by what the encoder knows of them; a verdict says who was asked."""
    alone = trained(settings)
    assert set(areas(settings, *STRANGE.values())) != set(STRANGE)
    folder = install(settings.models)
    assert areas(settings, "lampan") == ["gatubelysning"]  # a version from before the encoder goes on as it was
    with_it = training.train(settings, [], lambda _: None, now=NOW)
    training.use(settings.models, with_it.version)
    assert areas(settings, *STRANGE.values()) == list(STRANGE)
    assert "kodare words" in classify.load(settings).by
    improved = "out of fold with the encoder, area top-1"
    assert (
        with_it.measures["out of fold, area top-1"]
        < model.load_card(settings.models / with_it.version).measures[improved]
    )
    (folder / encoder.MANIFEST).unlink()  # the operator takes it away: the model suggests alone
    assert "kodare" not in classify.load(settings).by
    assert areas(settings, "lampan") == ["gatubelysning"]
    assert alone.sha256 == with_it.sha256  # the model itself is the same with and without


def test_a_changed_second_opinion_is_refused(settings: Classify) -> None:
    """Planes that are not those of the card are not used."""
    install(settings.models)
    card = trained(settings)
    training.use(settings.models, card.version)
    (settings.models / card.version / encoder.DENSE).write_bytes(b"changed")
    with pytest.raises(EncoderError, match="the hash differs"):
        classify.load(settings)


def test_vectors_that_say_nothing_are_left_out() -> None:
    """An encoder that does not help on mails it has not seen gets no say."""
    random = np.random.default_rng(0)
    labels = random.integers(0, 3, 300)
    scores = np.eye(3)[labels] * 2 + random.normal(size=(300, 3))
    examples = Examples(np.zeros((300, 1)), labels, np.zeros(300, dtype=bool), 3)
    everyone = np.arange(300)
    assert stacking.stack(examples, everyone, everyone, scores, random.normal(size=(300, 5))) is None
    told = np.eye(3)[labels] + random.normal(size=(300, 3)) * 0.1
    assert stacking.stack(examples, everyone, everyone, scores, told) is not None
