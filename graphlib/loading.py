"""Reading saved graphs: data only, checked as it is read."""

from __future__ import annotations

# -- loading -------------------------------------------------------------------


def load(path: Any) -> Graph:
    """The graph that :func:`save` wrote at ``path``.

    Raises:
        GraphError: the files are no saved graph, do not belong together, are of a
            later version, hold an op type that is not declared, or describe
            operations that do not fit together.
        OSError: a file cannot be read.
    """
    target = Path(path)
    head = _read_json(target)
    arrays = _arrays_path(target).read_bytes()
    if hashlib.sha256(arrays).hexdigest() != head.get("arrays_sha256"):
        raise GraphError(
            f"{_arrays_path(target)} does not belong to {target}: its checksum differs"
        )
    graph = Graph()
    try:
        reader = Reader(graph, read_pools(arrays))
        sources = [(str(f), int(n), str(who)) for f, n, who in head["sources"]]
        for record in head["operations"]:
            _restore(graph, record, reader, sources)
        _restore_rest(graph, head, reader)
    except GraphError as error:
        raise GraphError(f"{target}: {error}") from None
    except _MALFORMED as error:
        raise GraphError(
            f"{target} is not a well-formed graph file: {error!r}"
        ) from None
    return graph


_MALFORMED = (
    AttributeError,
    IndexError,
    KeyError,
    RecursionError,
    TypeError,
    ValueError,
    DagradError,
)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        head = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise GraphError(f"{path} is no JSON: {error}") from None
    if not isinstance(head, dict) or head.get("format") != FORMAT:
        raise GraphError(f"{path} is no saved graph")
    if head.get("version") != VERSION:
        raise GraphError(
            f"{path} has version {head.get('version')!r} of the format; this dagrad "
            f"reads version {VERSION}"
        )
    return head


def _restore(
    graph: Graph, record: dict[str, Any], reader: Reader, sources: list[Any]
) -> None:
    """Append the operation that ``record`` describes, checking what it says."""
    name = record["name"]
    if not isinstance(name, str) or not name or name in graph._by_name:
        raise GraphError(f"{name!r} is no name, or stands there twice")
    try:
        opdef = lookup(record["type"])
        inputs = [graph.get_tensor_by_name(t) for t in record.get("inputs", ())]
        controls = [graph.get_operation_by_name(c) for c in record.get("control", ())]
        forward = record.get("forward")
        context = graph._local.context
        context.controls = tuple(controls)
        context.device = str(record.get("device", ""))
        context.forward_op = None
        if forward is not None:
            context.forward_op = graph.get_operation_by_name(forward)
        source = record.get("source")
        context.mark = ("", 0, "") if source is None else sources[source]
        attrs = {k: reader.decode(v) for k, v in record.get("attrs", {}).items()}
        # A name with a slash at its end is taken whole.
        op = graph.create_op(opdef, inputs, attrs, name + "/")
    except MissingNameError as error:
        raise GraphError(f'operation "{name}": {error}') from None
    except _MALFORMED as error:
        raise GraphError(f'operation "{name}" cannot be restored: {error}') from None
    finally:
        context = graph._local.context
        context.controls, context.device = (), ""
        context.forward_op, context.mark = None, None
    op.control_inputs = tuple(controls)
    if source is None:
        op._mark = None
    _restore_shapes(op, record.get("outputs", ()))


def _restore_shapes(op: Operation, outputs: Iterable[Any]) -> None:
    """Give outputs the static shapes of the file, which inference must allow."""
    specs = [(DTYPES[d], None if s is None else tuple(s)) for d, s in outputs]
    if len(specs) != len(op.outputs):
        _broken(op, f"has {len(op.outputs)} outputs, the file says {len(specs)}")
    for t, (dtype, dims) in zip(op.outputs, specs):
        if dtype is not t.dtype or not compatible(dims, t.dims):
            _broken(
                op,
                f"output {t.index} is {t.dtype.name}{text(t.dims)}, the file says "
                f"{dtype.name}{text(dims)}",
            )
        t.dims = dims


def _restore_rest(graph: Graph, head: dict[str, Any], reader: Reader) -> None:
    for name, count in head["names"].items():
        graph._names[str(name)] = int(count)
    for entry in head["variables"]:
        op = graph.get_operation_by_name(entry["operation"])
        record = {k: reader.decode(v) for k, v in entry["record"].items()}
        graph._variables[op] = TABLE["variable_from_op"](op, record)
    for key, items in head["collections"]:
        kept = [reader.decode(item) for item in items]
        graph._collections[reader.decode(key)] = kept
    for name in head["unfeedable"]:
        graph.prevent_feeding(graph.get_tensor_by_name(name))
    graph.seed = reader.decode(head["seed"])
    if head["finalized"]:
        graph.finalize()
