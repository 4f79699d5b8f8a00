"""Poison a classifier of your own data: make a CSV, attack it, print the damage.

Run it with `python examples/own_data.py`; it writes into a temporary folder.
"""

import tempfile
from pathlib import Path

from sklearn.datasets import load_breast_cancer

import poisoncli
from poisoncli import Choice, Run


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "tumors.csv"
        frame = load_breast_cancer(as_frame=True).frame  # pyright: ignore[reportAttributeAccessIssue]
        frame.to_csv(table, index=False)
        for attack in (Choice("rmd", {"outer_steps": 40}), Choice("flip")):
            run = Run(dataset=Choice("file", {"path": str(table)}), attack=attack, fraction=0.2, repetitions=2)
            content = poisoncli.evaluate(poisoncli.attack(run, Path(folder) / f"{attack.name}.h5"))
            errors = ", ".join(f"{row['fraction']:.0%}: {row['test_error']:.1%}" for row in poisoncli.rows(content))
            print(f"{attack.name:5} test error at each share of poison: {errors}")


if __name__ == "__main__":
    main()
