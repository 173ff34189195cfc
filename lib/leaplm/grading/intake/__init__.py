"""What a class hands in becomes submissions: uploads, layouts of learning platforms, the roster, receipts. Runs nothing of it."""
