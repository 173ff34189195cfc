"""Responsible use (lab 9): what a model remembers, gives away, does to groups of people, and can be explained by.

memorization: planted secrets, exposure, near-duplicates. privacy: membership inference, differentially private training.
fairness: gaps between groups with intervals. explanations: attributions, and whether they are true.
"""

__all__ = ["explanations", "fairness", "memorization", "privacy"]
