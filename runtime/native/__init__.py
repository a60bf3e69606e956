"""Native kernels: fused loops that LLVM compiles, with the extra ``dagrad[jit]``."""
