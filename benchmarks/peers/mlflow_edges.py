"""What MLflow does with metrics that are no numbers, with nothing to check, with no items, and with a permitted loss.

    python mlflow_edges.py

Metric values are handed over here, where the gate lets MLflow compute them. Prints one JSON object: question →
"pass", "fail", or the error.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
from mlflow.models import MetricThreshold
from mlflow.models.evaluation import EvaluationResult
from mlflow.models.evaluation.validation import ModelValidationFailedException

NAN = float("nan")


def main() -> None:
    def check(rule: Mapping[str, float], candidate: float, baseline: float | None = None) -> None:
        results = [EvaluationResult(metrics={"m": value}, artifacts={}) for value in (candidate, baseline)
                   if value is not None]  # fmt: skip
        mlflow.validate_evaluation_results({"m": MetricThreshold(**rule, greater_is_better=True)}, *results)

    empty = EvaluationResult(metrics={}, artifacts={})
    print(json.dumps({
        "NaN, `threshold=0.9`": answer(lambda: check({"threshold": 0.9}, NAN)),
        "NaN, `min_absolute_change=0.01` over a baseline of 0.9":
            answer(lambda: check({"min_absolute_change": 0.01}, NAN, 0.9)),
        "NaN, `min_relative_change=0.01` over a baseline of 0.9":
            answer(lambda: check({"min_relative_change": 0.01}, NAN, 0.9)),
        "0.5, `min_relative_change=0.01` over a baseline that is NaN":
            answer(lambda: check({"min_relative_change": 0.01}, 0.5, NAN)),
        "no metric at all, no threshold at all": answer(lambda: mlflow.validate_evaluation_results({}, empty)),
        "`mlflow.models.evaluate` of a classifier on no items": answer(evaluate_nothing),
        "0.89, `min_absolute_change=-0.02` (a permitted loss) over a baseline of 0.9":
            answer(lambda: check({"min_absolute_change": -0.02}, 0.89, 0.9)),
    }))  # fmt: skip


def evaluate_nothing() -> None:
    mlflow.set_tracking_uri(f"sqlite:///{Path('mlflow.db').absolute()}")
    frame = pd.DataFrame({"prediction": np.zeros(0, int), "target": np.zeros(0, int)})
    with mlflow.start_run():
        mlflow.models.evaluate(
            data=frame, predictions="prediction", targets="target", model_type="classifier", evaluators="default"
        )


def answer(call: Callable[[], None]) -> str:
    try:
        call()
    except ModelValidationFailedException:
        return "fail"
    except Exception as error:
        quoted = str(error).splitlines()[0].replace("`", "'")
        return f"error: `{type(error).__name__}: {quoted}`"
    return "pass"


if __name__ == "__main__":
    main()
