"""Attacks on the grading and faults that happen to it: each one a generated submission of the mini lab.

    rows.py        how a row of the table is declared, and all of them
    work.py        what a student hands in, for a row to change
    traps.py       what lies around for an attack to steal, reach or leave behind
    forging.py     A: a higher mark than earned       stealing.py   B: what is secret
    damaging.py    C: others, and the machine         exhausting.py D: time, memory, processes, disk
    malformed.py   E: damaged submissions             own.py        F: our own design
    kernel.py      F: calls of the kernel that namespaces do not divide
    outcome.py     what one row came to, and what of it is bad

The table against our grader is tests/test_grading_attacks.py. Beside it stands what plain nbgrader makes of the same
submissions (`python -m attacks.baseline`, run in tests/): baseline.json, and `python -m attacks.table` shows both.
"""
