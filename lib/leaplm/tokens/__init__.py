"""What a language costs in tokens (lab 0), and tokenizers made for it (labs 0 and 1).

costs: premiums, sentences that fit, shares of a mixture, tokenizer files. tokenization: WordPiece and byte-level BPE trained
on a few texts, fertility, unknown pieces.
"""

__all__ = ["costs", "tokenization"]
