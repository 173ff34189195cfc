"""JSON of others: what an honest program writes is read as it is; what would cost its reader much is refused at once."""

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from leaplm import artifacts
from leaplm.capstone import small_data
from leaplm.plain_json import MOST_DEPTH, WHOLE, read_json
from leaplm.prompting import read_prompt_file
from leaplm.tokens import costs

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(WHOLE[0], WHOLE[-1]) | st.floats(-1e300, 1e300) | st.text(),
    lambda items: st.lists(items) | st.dictionaries(st.text(), items), max_leaves=20)  # fmt: skip


@given(VALUES, st.booleans(), st.sampled_from([None, 1]))
def test_what_json_writes_is_read(value, escaped, indent):
    text = json.dumps(value, ensure_ascii=escaped, indent=indent)
    assert read_json(text) == value
    assert read_json(text.encode("utf-8", "surrogatepass")) == value


@given(st.text('[]{}"\\,:1e+-.naN ', max_size=40))
def test_whatever_it_is_there_is_a_value_or_a_value_error(text):
    try:
        want = json.loads(text)
    except ValueError:
        with pytest.raises(ValueError):
            read_json(text)
    else:
        try:
            got = read_json(text)
        except ValueError as error:
            assert "64 bits" in str(error) or "infinite" in str(error)
        else:
            assert repr(got) == repr(want)


def deep(levels):
    return b"[" * levels + b"]" * levels


HOSTILE = {
    "empty lists": b"[[]" + b",[]" * 5_000_000 + b"]", "empty objects": b"[{}" + b",{}" * 5_000_000 + b"]",
    "deep": deep(1_000_000), "deep and open": b'{"a":' * 1_000_000, "a little too deep": deep(MOST_DEPTH + 1),
    "a number without end": b"1" * 15_000_000, "a fraction without end": b"0." + b"1" * 15_000_000 + b"e400",
    "colliding numbers": json.dumps([n * (2**61 - 1) for n in range(9, 300_000)]).encode(),
    "infinite": b'{"steps": 1e400}', "a text without end": b'"' + b"\\" * 15_000_001, "quotes": b'"' * 15_000_001,
}  # fmt: skip


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)
def test_what_would_cost_much_is_refused_at_once(content):
    started = time.process_time()
    with pytest.raises(ValueError):
        read_json(content)
    assert time.process_time() - started < 3


@pytest.mark.parametrize("read", [artifacts.read_artifact, small_data.read_results, read_prompt_file, costs.read_tokenizer])
@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)
def test_all_files_that_students_hand_in_are_read_so(read, content):
    with pytest.raises(ValueError):
        read(content if read is not artifacts.read_artifact else len(content).to_bytes(8, "little") + content)


@pytest.mark.parametrize("levels", [1, MOST_DEPTH])
def test_depth_is_counted_outside_of_texts(levels):
    assert read_json(json.dumps({"a": "[{" * 99, "\\": "\"[\\"}))
    assert read_json(deep(levels)) == json.loads(deep(levels))


def test_many_methods_in_a_file_of_results_cost_nothing():
    """Each would be resampled a thousand times."""
    runs = [{"method": str(number), "seed": 0, "predictions": [0] * 60} for number in range(4000)]
    content = {"language": "hau", "labels": ["a", "b"], "true": [0] * 60, "rows": "", "runs": runs, "summary": []}
    with pytest.raises(ValueError, match="4000 runs"):
        small_data.read_results(json.dumps(content))
