"""The marks: checks, held-out rows, the examiner of one submission and the engine of many, audits, and tests of the checks."""
