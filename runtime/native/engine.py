"""LLVM: from a module's text to machine code in memory, for the processor at hand.

``llvmlite`` is imported on first use (it takes some tens of milliseconds); LLVM runs
outside the interpreter's lock.
"""

from __future__ import annotations

import ctypes
import threading
from pathlib import Path
from typing import Any

from . import available
from .nest import WRITTEN_OUT, machine

__all__ = ["SYMBOL", "Code", "Engine", "available", "engine"]

#: The name of the function in every object file.
SYMBOL = "dagrad_kernel"

_PROTOTYPE = (None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)
# One lets other threads run meanwhile; the other saves a short call the hand-over.
_FREE = ctypes.CFUNCTYPE(*_PROTOTYPE)
_HOLDING = ctypes.PYFUNCTYPE(*_PROTOTYPE)


class Code:
    """Machine code in memory; it goes when this object goes.

    Attributes:
        address: where it begins.
        call: ``f(address of args, start, stop)``, without the interpreter's lock.
        call_short: the same, for loops so short that handing over does not pay.
    """

    __slots__ = ("_tracker", "address", "call", "call_short")

    def __init__(self, tracker: Any) -> None:
        address = tracker[SYMBOL]
        self._tracker = tracker
        self.address: int = address
        self.call: Any = _FREE(address)
        self.call_short: Any = _HOLDING(address)


class Engine:
    """A target machine with its optimiser and its loader."""

    def __init__(self) -> None:
        import llvmlite
        import llvmlite.binding as llvm

        self._llvm = llvm
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        cpu = llvm.get_host_cpu_name()
        features = llvm.get_host_cpu_features().flatten()
        self.triple: str = llvm.get_process_triple()
        target = llvm.Target.from_triple(self.triple)
        self._machine = target.create_target_machine(
            cpu=cpu, features=features, opt=3, reloc="pic", codemodel="jitdefault"
        )
        self._jit = llvm.create_lljit_compiler(
            target.create_target_machine(
                cpu=cpu, features=features, opt=3, reloc="pic", codemodel="jitdefault"
            )
        )
        #: What loops are written for.
        self.vectors = machine(self.triple, dict(llvm.get_host_cpu_features()))
        versions = llvmlite.__version__, llvm.llvm_version_info, self.triple
        #: What machine code depends on beside the kernel.
        self.identity = repr((versions, cpu, features, _sources()))
        # Modules live in one context of LLVM's, which serves one thread at a time.
        self._lock = threading.Lock()
        self._count = 0

    def compile(self, text: str) -> bytes:
        """The object file of a module."""
        with self._lock:
            return self._compile(text)

    def _compile(self, text: str) -> bytes:
        llvm = self._llvm
        module = llvm.parse_assembly(text)
        module.verify()
        options = llvm.create_pipeline_tuning_options(speed_level=3)
        loose = not text.startswith(WRITTEN_OUT)
        options.loop_vectorization = loose
        options.slp_vectorization = loose
        options.loop_unrolling = loose
        options.loop_interleaving = loose
        builder = llvm.create_pass_builder(self._machine, options)
        builder.getModulePassManager().run(module, builder)
        return bytes(self._machine.emit_object(module))

    def load(self, data: bytes) -> Code:
        """The code of an object file, ready to be called."""
        with self._lock:
            self._count += 1
            library = self._llvm.JITLibraryBuilder()
            library.add_object_img(data).add_current_process().export_symbol(SYMBOL)
            return Code(library.link(self._jit, f"kernel{self._count}"))


def _sources() -> str:
    """A digest of the code that generates code."""
    import hashlib

    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


_LOCK = threading.RLock()
_ENGINE: Engine | None = None


def engine() -> Engine:
    """The engine of this process; the caller holds no other lock."""
    global _ENGINE
    with _LOCK:
        if _ENGINE is None:
            _ENGINE = Engine()
        return _ENGINE
