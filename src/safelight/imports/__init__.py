"""Other tools' pictures as learning records: what each says about how it was made.

One generator, one module. Nothing is executed, rewritten or deleted, and nothing is guessed.
"""
