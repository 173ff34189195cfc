"""What a class hands in becomes submissions: uploads, layouts of learning platforms, the roster, receipts.

Nothing of it is run.
"""
