"""Code of the user's own: victims and plug-ins, such as work, and such as are broken in every way."""

from __future__ import annotations

import random

from fuzz import templates
from fuzz.case import Case
from fuzz.mutate import NUMBERS, WORDS
from fuzz.templates import SIZES, Templates

_SKLEARN = (
    "sklearn.dummy:DummyClassifier",
    "sklearn.linear_model:LogisticRegression",
    "sklearn.tree:DecisionTreeClassifier",
    "sklearn.linear_model:Ridge",
    "sklearn.svm:LinearSVC",
    "sklearn.naive_bayes:GaussianNB",
    "sklearn.cluster:KMeans",
    "sklearn.preprocessing:StandardScaler",
    "sklearn.linear_model:NoSuch",
    "sklearn:linear_model",
    "sklearn.base:BaseEstimator",
    "sklearn.pipeline:make_pipeline",
    "nosuch:Model",
    "os:system",
    "json:dumps",
    "builtins:int",
    ":x",
    "x:",
    "mine.py",
    "folder:Model",
    "no.py:Model",
)
METRICS = ("auc", "error", "nmse", "mae", "recall", "recall:0", "balanced-error", "log-loss", "r2", "x")
_SET = (
    "victim.max_depth=1",
    "victim.nosuch=1",
    "victim.random_state=x",
    "Model.depth=3",
    "victim.C=-1",
    "victim.",
    "victim",
    "victim.max_iter=None",
)
_PREDICTED = (  # what `predict` of a Model gives
    "np.asarray(self.y)[np.arange(len(x)) % len(self.y)]",
    "np.asarray(self.y)[:1].repeat(x.shape[0])",
    "np.zeros(x.shape[0])",
    "np.zeros((x.shape[0], 2))",
    "np.full(x.shape[0], np.nan)",
    "[None] * x.shape[0]",
    "np.full(x.shape[0], 'never seen')",
    "np.full(x.shape[0], 1j)",
    "[[1], [2, 3]]",
    "None",
    "self",
    "[{}] * x.shape[0]",
    "[[]] * x.shape[0]",
    "np.zeros(0)",
    "1 / 0",
)
_FITTED = (  # what its `fit` does
    "self.y = y",
    "self.y = y",
    "self.y = y",
    "raise ValueError('[/red] no\\nsecond line')",
    "raise SystemExit(5)",
    "raise KeyboardInterrupt",
    "import os; os._exit(9)",
    "import warnings; warnings.warn('[bold] careful'); print('out'); self.y = y",
    "self.y = y; x[:] = 0; y[:] = 0",
)
_MEMBERS = (  # what else it has
    "",
    "",
    "",
    "def __init__(self, depth): pass",
    "def __init__(self): raise RuntimeError",
    "def __getattr__(self, name): raise OSError('no ' + name)",
    "def get_params(self, deep=True): return 5",
    "fit = None",
    "predict = 3",
    "classes_ = ['a']",
    "def predict_proba(self, x): return np.ones((x.shape[0], 1))",
    "def predict_proba(self, x): return np.full((x.shape[0], 2), 0.5)",
    "def predict_proba(self, x): return 'x'",
    "def predict_proba(self, x): return np.full((x.shape[0], 2), -1.0)",
    "def decision_function(self, x): return np.full(x.shape[0], np.inf)",
    "def decision_function(self, x): return np.arange(x.shape[0])",
)
_MODEL_FILE = """import numpy as np

class Model:
    def fit(self, x, y):
        {fitted}
        return self

    def predict(self, x):
        return {predicted}

    {member}
"""
_PIPELINE = """from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

Model = make_pipeline(StandardScaler(), LogisticRegression())
"""
_OTHER_FILES = (
    _PIPELINE,
    "Model = 5",
    "Model = None",
    "def Model(): return 5",
    "from sklearn.tree import DecisionTreeClassifier\ndef Model(**more): return DecisionTreeClassifier(**more)",
    "from sklearn.tree import DecisionTreeClassifier as Model\nraise SystemExit('bye')",
    "def Model(:",
    "import nosuchmodule",
    "raise ValueError('[/red]')",
    "\x00",
    "",
    "import sys; sys.exit(3)",
    "raise KeyboardInterrupt",
)
_HEAD = """import numpy as np
import jax.numpy as jnp
from poisoncli.core.defense import Verdict
from poisoncli.core.method import method, option

"""
_DEFENSE = '''@method
class Own:
    """Own (2020).

    {doc}: a share.
    """

    share: {type} = {default}

    def knows(self):
        return {knows}

    def weigh(self, key, data, learner, clues):
        n = len(data.y)
        return {verdict}
'''
_VERDICTS = (
    "Verdict(np.ones(n, np.float32), np.zeros(n), {})",
    "Verdict(np.ones(n, np.float32), np.zeros(n), {})",
    "Verdict(np.zeros(n, np.float32), np.zeros(n), {})",
    "Verdict(np.ones(n + 1), np.zeros(n), {})",
    "Verdict(np.full(n, np.nan), np.zeros(n), {})",
    "Verdict(np.full(n, -5.0), np.zeros(n), {})",
    "Verdict(np.full(n, 1e30), np.zeros(n), {})",
    "Verdict(np.ones(n), np.full(n, np.inf), {})",
    "Verdict(np.ones(n), None, {})",
    "Verdict(np.ones(n), np.zeros(n), {'[/red]': np.zeros(n)})",
    "Verdict(np.ones(n), np.zeros(n), {'why': np.array(['ä'] * n)})",
    "Verdict(np.ones(n), np.zeros(n), {'a': np.zeros(3)})",
    "Verdict(np.ones(n), np.zeros(n), {'a': {}})",
    "Verdict(np.ones(n), np.zeros(n), None)",
    "Verdict(['a'] * n, np.zeros(n), {})",
    "np.ones(n)",
    "None",
    "1 / 0",
    "Verdict(jnp.ones(n), jnp.zeros(n), {})",
    "exit(3)",
)
_ATTACK = '''@method
class Own:
    """Own (2020)."""

    tasks = {tasks}

    def craft(self, key, problem, resume=None):
        from poisoncli.bilevel.initial_poison import flipped_copies
        p = flipped_copies(key, problem, outer_steps=0)._replace(done=1, total=1)
        {craft}
'''
_CRAFTS = (
    "yield p",
    "yield p",
    "return iter(())",
    "return p",
    "yield None",
    "yield p._replace(x=p.x[:, :0])",
    "yield p._replace(x=np.full_like(p.x, np.nan))",
    "yield p._replace(y=p.y + 0.5)",
    "yield p._replace(y=p.y + 7)",
    "yield p._replace(done=0)",
    "yield p._replace(replaced=p.replaced + 10**6)",
    "yield p._replace(replaced=p.replaced * 0)",
    "yield p._replace(counts=p.counts * 2)",
    "yield p._replace(x=p.x.astype(str))",
    "yield p._replace(loss=None)",
    "yield p._replace(log_lambda=np.zeros(3))",
    "raise ValueError('[/red]')",
    "raise StopIteration",
    "yield p; raise OSError('later')",
    "yield p._replace(done=-1); yield p",
)
_MODEL = '''@method
class Own:
    """Own (2020)."""

    tasks = {tasks}
    linear_first = {linear}

    def init(self, key, m, outputs=1):
        return {init}

    def output(self, params, x):
        return {output}
'''
_INITS = (
    "{'w': jnp.ones((m, outputs)) * 0.1}",
    "{'w': jnp.ones((m, outputs)) * 0.1}",
    "[{'w': jnp.zeros((outputs, m)), 'b': jnp.zeros(outputs)}]",
    "{}",
    "None",
    "[]",
    "{'w': 5}",
    "{'w': np.ones((m, outputs), int)}",
    "{'w': jnp.full((m, outputs), jnp.nan)}",
    "{'[/red]': jnp.ones((m, outputs)), 'a/b': jnp.ones(3)}",
    "1 / 0",
    "'x'",
)
_OUTPUTS = (
    "(x @ params['w'])[:, 0]",
    "(x @ params['w'])[:, 0]",
    "x @ params['w']",
    "x[:, 0] + params[0]['b'][0]",
    "x",
    "None",
    "float(x[0, 0])",
    "np.asarray(x)[:, 0]",
    "jnp.zeros(3)",
    "params",
)
_DATASET = '''@method
class Own:
    """Own (2020)."""

    {more}

    def load(self, data_dir=None):
        from poisoncli.core.data import Dataset
        from poisoncli.core.labels import fingerprint
        rng = np.random.default_rng(0)
        y = (np.arange(80) % 2).astype(np.float32)
        x = (rng.standard_normal((80, 3)) + y[:, None]).astype(np.float32)
        return {load}
'''
_DECLARED = (
    "task = 'binary'",
    "task = 'binary'",
    "sizes = (5, 5)",
    "sizes = 7",
    "class_names = (1, 2)",
    "description = 3",
    "settings = 5",
    "usual_model = 'nosuch'",
)
_LOADS = (
    "Dataset(x, y, -9.0, 9.0, 'binary', fingerprint(x, y))",
    "Dataset(x, y, -9.0, 9.0, 'binary', fingerprint(x, y))",
    "Dataset(x, y, 0.0, 0.1, 'binary', fingerprint(x, y))",
    "Dataset(x, y, -9.0, 9.0, 'multiclass', fingerprint(x, y))",
    "Dataset(x, y, -9.0, 9.0, 'real', fingerprint(x, y))",
    "Dataset(x, y, -9.0, 9.0, 'other', fingerprint(x, y))",
    "Dataset(x[:5], y, -9.0, 9.0, 'binary', fingerprint(x, y))",
    "Dataset(x * np.nan, y, -9.0, 9.0, 'binary', fingerprint(x, y))",
    "Dataset(x, y + 5, -9.0, 9.0, 'binary', fingerprint(x, y))",
    "Dataset(x, y, -9.0, 9.0, 'binary', 'x')",
    "Dataset(x.tolist(), y.tolist(), -9.0, 9.0, 'binary', 'x')",
    "Dataset(x, y * 0, -9.0, 9.0, 'binary', fingerprint(x, y))",
    "Dataset(x[:0], y[:0], -9.0, 9.0, 'binary', fingerprint(x, y))",
    "None",
    "(x, y)",
    "1 / 0",
)


def _plugin(rng: random.Random) -> tuple[str, str]:
    """A file with a method called own, and of what kind it is."""
    kind = rng.choice(("defense", "defense", "attack", "model", "dataset"))
    tasks = rng.choice(("('binary',)", "('binary', 'multiclass', 'real')", "()", "5", "('other',)"))
    made = {
        "defense": lambda: _DEFENSE.format(
            doc=rng.choice(("share", "share", "else")),
            type=rng.choice(("float", "float", "int", "'Nothing'", "list")),
            default=rng.choice(("option(0.1, low=0, high=0.5)", "0.1", "option('x', low=0)", "None")),
            knows=rng.choice(("'nothing'", "'nothing'", "''", "None", "'[/red]'", "1 / 0")),
            verdict=rng.choice(_VERDICTS),
        ),
        "attack": lambda: _ATTACK.format(tasks=tasks, craft=rng.choice(_CRAFTS)),
        "model": lambda: _MODEL.format(
            tasks=tasks,
            linear=rng.choice(("False", "False", "True")),
            init=rng.choice(_INITS),
            output=rng.choice(_OUTPUTS),
        ),
        "dataset": lambda: _DATASET.format(
            more=rng.choice(_DECLARED),
            load=rng.choice(_LOADS),
        ),
    }
    text = _HEAD + made[kind]()
    spoil = rng.random()
    if spoil < 0.04:
        text = text.replace("@method\n", "")
    elif spoil < 0.08:
        text = text.replace("class Own", f"class {rng.choice(('L2', 'RMD', 'Flip', 'Ä'))}")
    elif spoil < 0.12:
        text = text.replace(
            '    """Own (2020)',
            f'    name = {rng.choice(("5", "", "l2", "a b", "[/red]", "a/b"))!r}\n    """Own (2020)',
        )
    elif spoil < 0.16:
        at = rng.randrange(len(text))
        text = text[:at] + text[at + rng.choice((1, 5)) :]
    return text, kind


def plugins(rng: random.Random, made: Templates, few: bool = False) -> Case:
    """A file of methods, checked or used."""
    text, kind = _plugin(rng)
    files = {**made.run("flip"), "own.py": text.encode(errors="replace"), "two.py": b"import own\n"}
    plugin = ("--plugin", rng.choice(("own.py", "own.py", "own.py", "own.py", "no.py", "flip.h5", "two.py")))
    option = rng.choice(((), (), (), ("-o", f"share={rng.choice(NUMBERS)}"), ("-o", "Own.share=1")))
    then: tuple[tuple[str, ...], ...] = ()
    if rng.random() < 0.25:
        return Case("plug-ins", ("check", plugin[1], *rng.choice(((), ("--json",)))), files)
    if kind == "defense":
        command: tuple[str, ...] = ("defend", "flip.h5", *plugin, "-d", "own", *option)
        then = (
            ("evaluate", "flip.h5", *rng.choice((plugin, ()))),
            ("report", "flip.h5"),
            ("defend", "flip.h5", "-d", "own"),
        )
    else:
        flag = {"attack": "--method", "model": "--model", "dataset": "--dataset"}[kind]
        short = ("--method", "rmd", "-o", "outer_steps=2", "-o", "inner_steps=3") if kind == "model" else ()
        flip = ("--method", "flip") if kind == "dataset" else ()
        command = ("attack", *SIZES, *plugin, flag, "own", *short, *flip, *option, "--out", "o.h5")
        then = (
            ("evaluate", "o.h5", *rng.choice((plugin, ()))),
            ("export", "o.h5", "o.csv"),
            ("evaluate", "o.h5", "--csv"),
        )
    return Case("plug-ins", command, files, then=then)


def victims(rng: random.Random, made: Templates, few: bool = False) -> Case:
    """Models from outside on a run file, or on a table."""
    name = rng.choice(made.names(few))
    files = {
        **made.run(name),
        "own.csv": templates.csv(classes=rng.choice((2, 3)) if name != "own" else 2),
        "folder/": b"",
    }
    model = _MODEL_FILE.format(
        fitted=rng.choice(_FITTED),
        predicted=rng.choice((*_PREDICTED[:2] * 4, *_PREDICTED)),
        member=rng.choice(_MEMBERS),
    )
    files["mine.py"] = (model if rng.random() < 0.7 else rng.choice(_OTHER_FILES)).encode()
    chosen = [
        "mine.py:Model" if rng.random() < 0.6 else rng.choice((*_SKLEARN, *_SKLEARN[:6], *WORDS))
        for _ in range(rng.choice((1, 1, 1, 2)))
    ]
    args = [part for one in chosen for part in ("--victim", one)]
    if rng.random() < 0.25:
        args += ["-o", rng.choice(_SET)]
    if rng.random() < 0.3:
        args += ["--metric", rng.choice(METRICS)]
    if rng.random() < 0.2:
        args += [rng.choice(("--fail-above", "--fail-below")), rng.choice(("0", "0.5", "1", "nan"))]
    args += rng.choice(((), (), ("--json",), ("--csv",)))
    if rng.random() < 0.75 or b"_exit" in files["mine.py"]:  # a single training is in the process itself
        then = (("evaluate", f"{name}.h5"), ("report", f"{name}.h5", *rng.choice(((), ("--metric", "auc")))))
        return Case("victims", ("evaluate", f"{name}.h5", *args), files, then=then)
    return Case("victims", ("evaluate", "--dataset", "own.csv", *args), files)
