"""What needs no PyTorch: 4-bit numbers, the classifier and its file, distances, GGUF, energy."""

import json
import struct
import subprocess
import sys

import numpy as np
import pytest
from leaplm import evaluation, small_machines
from leaplm.small_machines import drift, energy, predictor
from safetensors.numpy import load, save

RNG = np.random.default_rng(0)
TEXTS = ["Ina kwana, malam?", "na gode  sosai", "Ba na so", "ban so ba", "Ọjọ́ dára!", "a", "so so so"]
LABELS = [1, 1, 0, 0, 2, 2, 0]


def test_the_package_does_not_load_pytorch():
    code = "import leaplm.small_machines, sys; print(*[m for m in ('torch', 'transformers', 'sklearn') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == ""


@pytest.mark.parametrize(("shape", "size"), [((3, 64), 32), ((2, 40), 16), ((1, 7), 3), ((4, 5), 100)])
def test_groups_come_back_within_half_a_step_and_pairs_exactly(shape, size):
    weight = (RNG.normal(size=shape) * 10.0 ** RNG.integers(-2, 2, shape)).astype(np.float32)
    numbers, scales = small_machines.quantize_groups(weight, size)
    back = small_machines.dequantize_groups(numbers, scales, size)
    widest = np.diff(small_machines.NF4).max() / 2 + 1e-3
    assert (np.abs(back - weight) <= widest * np.repeat(scales, size, axis=1)[:, : shape[1]].astype(np.float32) + 1e-6).all()
    flat = numbers.flatten()
    assert np.array_equal(small_machines.unpack_pairs(small_machines.pack_pairs(flat), len(flat)), flat)


def pipeline_of(labels, units):
    return evaluation.tfidf_classifier(units).fit(TEXTS, labels)


@pytest.mark.parametrize("units", ["characters", "words"])
@pytest.mark.parametrize("labels", [LABELS, [min(label, 1) for label in LABELS]], ids=["three classes", "two classes"])
def test_the_predictor_gives_scikit_learns_probabilities(units, labels):
    pipeline = pipeline_of(labels, units)
    made = small_machines.from_pipeline(pipeline, ["x", "y", "z"][: max(labels) + 1], "hau")
    texts = [*TEXTS, "new words, ina", "", "???"]
    np.testing.assert_allclose(made.predict(texts), pipeline.predict_proba(texts), atol=1e-9)
    assert made.predict([]).shape == (0, max(labels) + 1)


def test_pieces_are_those_of_scikit_learn():
    analyze = pipeline_of(LABELS, "characters")[0].build_analyzer()
    for text in TEXTS:
        assert sorted(small_machines.text_terms(text)) == sorted(analyze(text))


@pytest.fixture
def small():
    return small_machines.from_pipeline(pipeline_of(LABELS, "characters"), ["x", "y", "z"], "hau")


@pytest.mark.parametrize(("bits", "off"), [(32, 1e-6), (16, 2e-3), (4, 0.25)])
def test_a_file_gives_the_same_predictor(small, tmp_path, bits, off):
    small_machines.save_predictor(tmp_path / "p", small_machines.keep_pieces(small, 50), bits)
    read = small_machines.load_predictor(tmp_path / "p")
    assert read.card["language"] == "hau" and len(read.pieces) == 50
    np.testing.assert_allclose(read.predict(TEXTS), small_machines.keep_pieces(small, 50).predict(TEXTS), atol=off)


def test_the_pieces_that_stay_are_those_with_the_widest_weights(small):
    kept = small_machines.keep_pieces(small, 9)
    spread = np.ptp(small.weight, axis=0) * small.idf
    assert len(kept.pieces) == 9
    assert min(spread[small.columns[piece]] for piece in kept.pieces) >= np.sort(spread)[-9]
    assert len(small_machines.keep_pieces(small, 10**6).pieces) == len(small.pieces)


def damaged(content, change):
    length = int.from_bytes(content[:8], "little")
    card = json.loads(json.loads(content[8 : 8 + length])["__metadata__"][predictor.CARD])
    tensors = load(content)
    change(tensors, card)
    return save(tensors, metadata={predictor.CARD: json.dumps(card)})


@pytest.mark.parametrize(("change", "told"), [
    (lambda t, c: c.update(format="compressed"), "format"), (lambda t, c: c.update(labels=["x"]), "labels"),
    (lambda t, c: c.update(units="bytes"), "units"), (lambda t, c: c.update(longest=900), "how long"),
    (lambda t, c: c.update(shortest=True), "how long"), (lambda t, c: t.pop("idf"), "lacks"),
    (lambda t, c: t.update(idf=t["idf"][:-1]), "shape"), (lambda t, c: t.update(weight=t["weight"][:-1]), "bytes"),
    (lambda t, c: t.update({"weight::scale": t["weight::scale"][:1]}), "do not fit"),
    (lambda t, c: t.update(bias=np.full_like(t["bias"], np.nan)), "finite"),
    (lambda t, c: t.update(pieces=np.append(t["pieces"], np.frombuffer(b"\n", np.uint8))), "shape|bytes|fit"),
    (lambda t, c: t.update(pieces=np.full(9, 255, np.uint8)), "damaged"),
])  # fmt: skip
def test_a_file_that_is_not_right_is_refused_in_words(small, tmp_path, change, told):
    small_machines.save_predictor(tmp_path / "p", small, 4)
    with pytest.raises(ValueError, match=told):
        small_machines.load_predictor(damaged((tmp_path / "p").read_bytes(), change))


def test_distances_are_scipys_and_the_alarm_keeps_its_rate():
    from scipy import stats

    for _ in range(20):
        first, second = RNG.integers(0, 9, 25), RNG.integers(0, 12, 11)
        assert small_machines.ks_distance(first, second) == pytest.approx(stats.ks_2samp(first, second).statistic)
    reference = RNG.normal(size=500)
    level = small_machines.alarm_level(reference, 50, 0.1, 400, 1)
    false = np.mean([small_machines.ks_distance(reference, RNG.choice(reference, 50)) > level for _ in range(400)])
    assert 0.05 < false < 0.16


def test_a_stream_has_the_shares_that_are_asked_for_and_no_row_twice_while_there_are_enough():
    weeks = small_machines.mixed_stream(60, 30, [0, 0.25, 1], 20, seed=0)
    assert [sum(kind == "new" for kind, _ in week) for week in weeks] == [0, 5, 20]
    rows = [row for week in weeks for row in week]
    assert len(set(rows)) == len(rows)
    assert drift.population_stability(range(50), range(50, 100)) > 1 > 0.25


def test_a_header_is_what_the_gguf_package_wrote(tmp_path):
    gguf = pytest.importorskip("gguf")
    writer = gguf.GGUFWriter(tmp_path / "m.gguf", "llama")
    writer.add_array("words", ["ina", "kwana", "ọjọ́"])
    writer.add_float32("eps", 0.5)
    table = RNG.normal(size=(4, 64)).astype(np.float32)
    packed = gguf.quants.quantize(table, gguf.GGMLQuantizationType.Q4_0)
    writer.add_tensor("a.weight", packed, raw_dtype=gguf.GGMLQuantizationType.Q4_0)
    for step in (writer.write_header_to_file, writer.write_kv_data_to_file, writer.write_tensors_to_file, writer.close):
        step()
    content = (tmp_path / "m.gguf").read_bytes()
    fields, tensors = small_machines.read_header(content)
    assert fields == {"general.architecture": "llama", "words": ["ina", "kwana", "ọjọ́"], "eps": 0.5}
    assert tensors == {"a.weight": ([64, 4], 2, 0)}
    back = small_machines.decode_q4_0(packed.tobytes()).reshape(4, 64)
    np.testing.assert_allclose(back, gguf.quants.dequantize(packed, gguf.GGMLQuantizationType.Q4_0))
    with pytest.raises((ValueError, struct.error)):
        small_machines.read_header(content[:60])


def test_the_meter_is_read_where_there_is_one(tmp_path):
    assert energy.read_meter(tmp_path) is None and energy.joules_of(lambda: 5, tmp_path) == (5, None)
    meter = tmp_path / "intel-rapl:0" / "energy_uj"
    meter.parent.mkdir()
    meter.write_text("5000000\n")
    assert energy.read_meter(tmp_path) == 5
    assert energy.joules_of(lambda: meter.write_text("7500000"), tmp_path)[1] == 2.5
    assert energy.joules_of(lambda: meter.write_text("100"), tmp_path)[1] is None, "the meter began again"
