"""Native kernels, for the extra ``dagrad[jit]``: LLVM through llvmlite.

``trace`` turns the kernels of elementwise ops into scalar expressions, ``emit`` and
``codegen`` these into loops in LLVM's language (with ``functions`` of our own for exp
and its like), ``engine`` those into machine code, ``cache`` keeps machine code on disk,
and ``worker`` does all this in the background.  ``vm`` runs tables of NumPy's own inner
loops.  Nothing here is a condition for running: where anything fails, NumPy goes on.
"""
