"""A user's own JAX model as the package's are: functions, an Equinox or Flax module, or what makes one."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from poisoncli.core.data import Array, Params
from poisoncli.core.errors import PoisonError
from poisoncli.core.method import method
from poisoncli.core.victim import Objective, predict
from poisoncli.training.own_models import in_words

WANTED = (
    "give init(key, m, outputs) and output(params, x), an Equinox or Flax module, or a function of key that makes "
    "one"
)
Made = Callable[[Array, int, int], Any]  # key, features, outputs -> a module


class Library(NamedTuple):
    """How the modules of a library are taken apart, and answer for rows [n, m].

    split: of a module, a key and m, the parameters, the rest, and the names of what else changes in training.
    """

    split: Callable[[Any, Array, int], tuple[Params, Any, list[str]]]
    answer: Callable[[Params, Any, Array], Array]


def as_model(found: Any, name: str) -> type:
    """A class like those of `models/` for what a file calls `name`. Raises `PoisonError` where that is no model."""
    if inspect.isclass(found) and hasattr(found, "__dataclass_params__") and _is_pair(found):
        return found
    start, answer = _functions(found, name)

    class Own:
        __doc__ = f"{name}: a model of the user's own. {inspect.getdoc(found) or ''}"
        tasks = ("binary", "multiclass", "real")
        attacks = ("rmd", "stealthy")

        def init(self, key: Array, m: int, outputs: int = 1) -> Params:
            return start(key, m, outputs)

        def output(self, params: Params, x: Array) -> Array:
            return answer(params, x)

    Own.__name__ = Own.__qualname__ = name
    return method(Own)


def _functions(found: Any, name: str) -> tuple[Made, Callable[[Params, Array], Array]]:
    """`init` and `output` of a model."""
    if isinstance(found, tuple) and len(found) == 2 and all(map(callable, found)):
        return _pair(*found)
    if _library(found) is not None:
        return _of_modules(lambda key, m, outputs: found, name)
    if _is_pair(found):
        made: Any = found() if inspect.isclass(found) else found
        return _pair(made.init, made.output)
    if callable(found):
        return _of_modules(lambda key, m, outputs: _called(found, name, key, m, outputs), name)
    has = "it is a tuple" if isinstance(found, tuple) else f"it is of type {type(found).__name__}"
    missing = [one for one in ("init", "output") if not callable(getattr(found, one, None))]
    raise PoisonError(f"--model {name} is no model ({has}, without {' and '.join(missing)}): {WANTED}")


def check(objective: Objective, x: Array, name: str) -> None:
    """Raise `PoisonError` unless the model starts, and answers for rows x [n, m] in a way that can be attacked."""
    m, k = x.shape[1], objective.outputs
    try:
        params = objective.init(jax.random.key(0), m)
    except PoisonError:
        raise
    except Exception as error:
        raise PoisonError(f"--model {name} cannot be made for {m} features ({in_words(error)}): mend it") from None
    leaves = jax.tree.leaves(params)
    if not leaves or not all(jnp.issubdtype(jnp.result_type(leaf), jnp.floating) for leaf in leaves):
        kinds = ", ".join(sorted({str(jnp.result_type(leaf)) for leaf in leaves})) or "none at all"
        raise PoisonError(f"the parameters of --model {name} are no floats ({kinds}): train floats alone")

    def output(params: Params, x: Array) -> Array:
        return predict(objective.model, params, x)

    try:
        found = output(params, jnp.asarray(x))
    except Exception as error:
        raise PoisonError(
            f"--model {name} does not answer for rows {x.shape} ({in_words(error)}): mend it"
        ) from None
    wanted = (len(x),) if k == 1 else (len(x), k)
    if np.shape(found) != wanted:
        raise PoisonError(
            f"--model {name} gives outputs of shape {np.shape(found)} for {len(x)} rows, and not {wanted}: give "
            + ("a logit, or a prediction, a row" if k == 1 else f"logits of {k} classes a row")
        )
    if not bool(jnp.all(jnp.isfinite(found))):
        raise PoisonError(f"--model {name} gives outputs that are not finite at its start: mend it, or its init")
    draw = np.random.default_rng(0)  # some models start where no feature counts
    moved = jax.tree.map(lambda leaf: leaf + 0.1 * draw.normal(size=leaf.shape).astype(leaf.dtype), params)
    by_params, by_rows = jax.grad(lambda p, x: jnp.sum(output(p, x) ** 2), argnums=(0, 1))(moved, jnp.asarray(x))
    for slopes, what in ((jax.tree.leaves(by_params), "parameters"), ([by_rows], "rows")):
        if not any(bool(jnp.any(slope != 0)) for slope in slopes):
            raise PoisonError(
                f"--model {name} has no gradient to its {what}: take out what cuts it, integers or stop_gradient"
            )


def _is_pair(found: Any) -> bool:
    return callable(getattr(found, "init", None)) and callable(getattr(found, "output", None))


def _pair(
    init: Callable[..., Params], output: Callable[..., Array]
) -> tuple[Made, Callable[[Params, Array], Array]]:
    """Functions of the user's; an `init` whose second parameter is called x gets a row of zeros [1, m]."""
    named = list(inspect.signature(init).parameters)
    by_rows = len(named) > 1 and named[1] in ("x", "rows", "inputs")

    def start(key: Array, m: int, outputs: int) -> Params:
        second = jnp.zeros((1, m)) if by_rows else m
        return init(key, second, outputs) if len(named) > 2 else init(*(key, second)[: len(named)])

    return start, lambda params, x: _one_logit(output(params, x))


def _of_modules(make: Made, name: str) -> tuple[Made, Callable[[Params, Array], Array]]:
    """The functions of a module that is made anew for each key.

    What of it is no parameter is kept of a module that was made outside of any tracing, by the parameters' shapes.
    """
    kept: dict[tuple, Any] = {}
    sizes: dict[tuple[int, int], Library] = {}

    def start(key: Array, m: int, outputs: int) -> Params:
        if (m, outputs) not in sizes:
            with jax.ensure_compile_time_eval():
                made = make(jax.random.key(0), m, outputs)
                library = _library(made)
                if library is None:
                    raise PoisonError(f"--model {name} makes a {type(made).__name__}, which is no module: {WANTED}")
                params, rest, stray = library.split(made, jax.random.key(0), m)
                if stray:
                    raise PoisonError(
                        f"--model {name} keeps {', '.join(stray)} beside its parameters, by which a row's output "
                        "depends on other rows: use a normalization without a memory, such as LayerNorm"
                    )
                kept[_shapes(params)] = (library, rest)
                sizes[m, outputs] = library
        return sizes[m, outputs].split(make(key, m, outputs), key, m)[0]

    def answer(params: Params, x: Array) -> Array:
        library, rest = kept[_shapes(params)]
        return _one_logit(library.answer(params, rest, x))

    return start, answer


def _shapes(params: Params) -> tuple:
    return tuple(np.shape(leaf) for leaf in jax.tree.leaves(params))


def _one_logit(found: Array) -> Array:
    """Outputs [n, 1] as [n], and two logits as that of the second class."""
    if np.ndim(found) == 2 and found.shape[1] == 1:
        return found[:, 0]
    return found[:, 1] - found[:, 0] if np.ndim(found) == 2 and found.shape[1] == 2 else found


def _called(factory: Callable[..., Any], name: str, key: Array, m: int, outputs: int) -> Any:
    """What a factory makes, given what its parameters are called; one of another name gets the key."""
    given: dict[str, Any] = {"key": key, "m": m, "features": m, "outputs": outputs, "classes": outputs}
    if "flax" in sys.modules:
        from flax import nnx  # pyright: ignore[reportMissingImports]

        given["rngs"] = nnx.Rngs(key)
    asked = [
        one
        for one in inspect.signature(factory).parameters.values()
        if one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD) and (one.default is one.empty or one.name in given)
    ]
    unknown = [one.name for one in asked if one.name not in given]
    if len(unknown) == len(asked) == 1:
        return factory(key)
    if unknown:
        raise PoisonError(
            f"--model {name} asks for {', '.join(unknown)}, which nothing gives: a function that makes a model "
            "takes key, m, outputs or rngs"
        )
    return factory(**{one.name: given[one.name] for one in asked})


def _library(made: Any) -> Library | None:
    """The library that an object is a module of."""
    if "equinox" in sys.modules:
        import equinox  # pyright: ignore[reportMissingImports]

        if isinstance(made, equinox.Module):
            return _EQUINOX
    if "flax" in sys.modules:
        from flax import linen, nnx  # pyright: ignore[reportMissingImports]

        if isinstance(made, linen.Module):
            return _LINEN
        if isinstance(made, nnx.Module):
            return _NNX
    return None


def _split_equinox(made: Any, key: Array, m: int) -> tuple[Params, Any, list[str]]:
    import equinox  # pyright: ignore[reportMissingImports]

    params, rest = equinox.partition(made, equinox.is_inexact_array)
    nodes = jax.tree.leaves(made, is_leaf=lambda node: isinstance(node, equinox.nn.StateIndex))
    return params, rest, ["a state"] if any(isinstance(node, equinox.nn.StateIndex) for node in nodes) else []


def _answer_equinox(params: Params, rest: Any, x: Array) -> Array:
    """Equinox modules take a row at a time."""
    import equinox  # pyright: ignore[reportMissingImports]

    whole = equinox.combine(params, rest)
    return jax.vmap(whole)(_shaped(x, whole))


def _split_linen(made: Any, key: Array, m: int) -> tuple[Params, Any, list[str]]:
    variables = made.init(key, _shaped(jnp.zeros((1, m)), made))
    return variables.get("params", {}), made, [name for name in variables if name != "params"]


def _answer_linen(params: Params, rest: Any, x: Array) -> Array:
    return rest.apply({"params": params}, _shaped(x, rest))


def _split_nnx(made: Any, key: Array, m: int) -> tuple[Params, Any, list[str]]:
    from flax import nnx  # pyright: ignore[reportMissingImports]

    graph, params, statistics, rest = nnx.split(made, nnx.Param, nnx.BatchStat, ...)
    stray = ["batch statistics"] if jax.tree.leaves(statistics) else []
    return nnx.to_pure_dict(params), (graph, params, rest), stray


def _answer_nnx(params: Params, rest: Any, x: Array) -> Array:
    from flax import nnx  # pyright: ignore[reportMissingImports]

    graph, state, others = rest
    own = jax.tree.unflatten(jax.tree.structure(state), jax.tree.leaves(params))
    whole = nnx.merge(graph, own, others)
    return whole(_shaped(x, whole))


def _shaped(x: Array, module: Any) -> Array:
    """Rows [n, m] in the shape that a module's attribute `row_shape` says, such as (28, 28, 1)."""
    return x.reshape(-1, *getattr(module, "row_shape", (x.shape[1],)))


_EQUINOX = Library(_split_equinox, _answer_equinox)
_LINEN = Library(_split_linen, _answer_linen)
_NNX = Library(_split_nnx, _answer_nnx)
