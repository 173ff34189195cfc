"""Code and arithmetic in a line from the right: each piece once, and nothing else."""

import pytest
from leaplm.directions import ISOLATE_END, LEFT_TO_RIGHT, with_isolates, without_isolates

PIECES = (
    "<2 · 10^−8^> و <.037> ثم <± 0.09> و <10⁻⁸> و <−3.9 %>",
    "<p_e_ = .2 · .2 + .8 · .8 = .68>؛ <κ = (.90 − .68) / .32 = .69>.",
    "0.1؛ <√100 / (√100 + √900) = 10 / 40 = 0.25>؛ 0.5.",
    "<1.96 · √(0.75 · 0.25 / 100) = 0.085> و <60e9 · 240 / (6 · 0.7e6) = 3.4>",
    "و<log 0.05 + log 0.5 = −3.69>: <−log σ(z) = log(1 + e^−z^)>.",
    "<3–5 %> و<1/2> و<2021–2023>، <2–3 GB> و<n = 2> و<PyTorch 9.4 ± 1.8>",
    "<R = [[.8, .5], [.6, .9]]>. <[50, −127, 0]> من <-0.5> إلى <+0.5>",
    "**<-100>** و<`x[-1]`> و<<`x`> = 3> و<$\\beta$ = 0.5> و $-\\log 0.5 = 3$",
    "شكلها <(4, 9)>، لا <(4,)> ولا <(2, 3, 128)>، و(4) و(أ, ب)",
    "640 جديدًا + 320 قديمًا، 2.54 و2,048 و12 %",
    "من SIB-200 و GPT-2 وSmolLM2-135M-Instruct، top-p 0.7، [UNK] وmacro-F1",
    "المختبر 3 · LoRA وأقاربه (10 دقائق، 3 نقاط)",
    "الجزء 1 · 100 مثال",
    "https://arxiv.org/abs/2004.09813 و](a-1 = 2) و{n = 2} و&minus;",
)


@pytest.mark.parametrize("line", PIECES)
def test_each_piece_is_isolated_once(line):
    marked = with_tags(line.replace("<", LEFT_TO_RIGHT).replace(">", ISOLATE_END))
    bare = without_isolates(marked)
    assert with_isolates(bare) == marked
    assert without_isolates(with_isolates(bare)) == bare


def with_tags(line):
    """^a^ and _a_ as powers and indices in HTML."""
    parts = line.split("^")
    line = "".join(part if number % 2 == 0 else f"<sup>{part}</sup>" for number, part in enumerate(parts))
    return line.replace("_e_", "<sub>e</sub>")


def test_what_is_marked_already_stays_as_it_is():
    line = f"{LEFT_TO_RIGHT}1 + 1{ISOLATE_END} و"
    assert with_isolates(line) == line


@pytest.mark.parametrize("text", ["1 + ", "a ", "a-", "(", "1", "−", "[1, ", "$", "<code>", "1/", "a1 = "])
def test_a_long_line_takes_no_time(text):
    assert without_isolates(with_isolates(text * 3000)) == text * 3000
