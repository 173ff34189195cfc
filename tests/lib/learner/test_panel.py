"""What stands below a check cell."""

import pytest
from leaplm.directions import ISOLATE_END, LEFT_TO_RIGHT
from leaplm.learner.panel import with_code
from leaplm.locales import speaking
from repo import ROOT


@pytest.mark.parametrize(("locale", "isolated"), [("ar", True), ("fr", False), ("", False)])
def test_the_shape_of_an_array_keeps_its_order_in_a_line_from_the_right(locale, isolated, monkeypatch):
    monkeypatch.setenv("LEAPLM_COURSE", str(ROOT))
    with speaking(locale):
        said = with_code("`f`: (4, 128) < (4,)")
    assert (f"{LEFT_TO_RIGHT}(4, 128)" in said or f"(4, 128) &lt; (4,){ISOLATE_END}" in said) == isolated
    assert "<code dir='ltr'>f</code>" in said and "&lt;" in said
