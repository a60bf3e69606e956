"""One function in a loop of its own, compiled as the native tier compiles its loops."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir

llvm.initialize_native_target()
llvm.initialize_native_asmprinter()

_KEPT: list[Any] = []  # engines own the code that the callables jump to


def machine(features: str | None = None, cpu: str | None = None) -> Any:
    """A target machine: the host's, or one with other features."""
    target = llvm.Target.from_default_triple()
    return target.create_target_machine(
        cpu=llvm.get_host_cpu_name() if cpu is None else cpu,
        features=llvm.get_host_cpu_features().flatten()
        if features is None
        else features,
        opt=3,
        jit=True,
        reloc="pic",
        codemodel="default",
    )


def source(
    emit: Callable[[ir.IRBuilder, list[ir.Value]], ir.Value], dtype: Any, arity: int
) -> str:
    """LLVM text of ``void loop(n, out, in...)``: out[i] = f(in[i]...)."""
    real = ir.FloatType() if np.dtype(dtype) == np.float32 else ir.DoubleType()
    size = ir.IntType(64)
    module = ir.Module(name="loop")
    module.triple = llvm.get_default_triple()
    kind = ir.FunctionType(
        ir.VoidType(), [size, real.as_pointer(), *[real.as_pointer()] * arity]
    )
    function = ir.Function(module, kind, "loop")
    for argument in function.args[1:]:
        argument.add_attribute("noalias")
    count, out, *inputs = function.args
    entry, body, done = (function.append_basic_block(n) for n in ("in", "body", "out"))
    builder = ir.IRBuilder(entry)
    builder.cbranch(builder.icmp_signed(">", count, size(0)), body, done)
    builder.position_at_end(body)
    i = builder.phi(size)
    i.add_incoming(size(0), entry)
    loaded = [builder.load(builder.gep(p, [i])) for p in inputs]
    builder.store(emit(builder, loaded), builder.gep(out, [i]))
    following = builder.add(i, size(1), flags=["nsw"])
    i.add_incoming(following, builder.block)
    builder.cbranch(builder.icmp_signed("<", following, count), body, done)
    builder.position_at_end(done)
    builder.ret_void()
    # The widest vectors, as the native tier asks for; llvmlite knows no such attribute.
    head, loop = str(module).split('define void @"loop"(', 1)
    arguments, rest = loop.split("\n", 1)
    return f'{head}define void @"loop"({arguments} "prefer-vector-width"="512"\n{rest}'


def optimised(text: str, target: Any) -> Any:
    """The parsed module after the passes of -O3, loop vectorisation included."""
    module = llvm.parse_assembly(text)
    module.verify()
    options = llvm.create_pipeline_tuning_options(speed_level=3)
    options.loop_vectorization = True
    options.slp_vectorization = False
    options.loop_interleaving = True
    builder = llvm.create_pass_builder(target, options)
    builder.getModulePassManager().run(module, builder)
    return module


def compile_loop(
    emit: Callable[[ir.IRBuilder, list[ir.Value]], ir.Value],
    dtype: Any,
    arity: int = 1,
    target: Any = None,
) -> Callable[..., None]:
    """A function ``f(out, *inputs)`` over whole contiguous arrays."""
    return compile_text(source(emit, dtype, arity), arity, target)


def compile_text(text: str, arity: int, target: Any = None) -> Callable[..., None]:
    """The function ``loop`` of a module, as ``f(out, *inputs)``."""
    target = machine() if target is None else target
    module = optimised(text, target)
    engine = llvm.create_mcjit_compiler(module, target)
    engine.finalize_object()
    _KEPT.append(engine)
    pointer = ctypes.c_void_p
    jump = ctypes.CFUNCTYPE(None, ctypes.c_int64, pointer, *[pointer] * arity)(
        engine.get_function_address("loop")
    )

    def call(out: np.ndarray, *inputs: np.ndarray) -> None:
        jump(out.size, out.ctypes.data, *(x.ctypes.data for x in inputs))

    return call


def assembly(
    emit: Callable[[ir.IRBuilder, list[ir.Value]], ir.Value],
    dtype: Any,
    arity: int = 1,
    target: Any = None,
) -> str:
    """The machine code of the loop, as text."""
    target = machine() if target is None else target
    return str(target.emit_assembly(optimised(source(emit, dtype, arity), target)))
