"""Native kernels, for the extra ``dagrad[jit]``: LLVM through llvmlite.

``vm`` runs tables of NumPy's own inner loops.  Nothing here is a condition for
running: where anything fails, NumPy goes on.
"""
