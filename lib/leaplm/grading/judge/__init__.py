"""The marks: checks, held-out rows, the examiner of one submission, the engine of many, audits, and banks of answers."""
