"""A project of one's own on 50 to 500 sentences (lab 10).

small_data: look the rows over, cut them into folds, compare methods. methods: those of labs 2 to 5 in one form.
evidence: what the records of all labs say about methods at a number of labels.
"""

__all__ = ["evidence", "methods", "small_data"]
