"""The four questions as MLflow's model validation asks them.

    python mlflow_gate.py reference.onnx candidate.onnx test.npz

`mlflow.models.evaluate` computes every figure from decisions and labels, and `mlflow.validate_evaluation_results`
decides. A `MetricThreshold` cannot permit a loss against a baseline, so the limit is a number that the script works
out from the reference's own evaluation. Agreement is accuracy with the reference's decisions as labels; the recall of
a class is a metric of one's own, for MLflow's is the mean over the classes. The rule about the loss function asks that
the candidate be no worse than the reference: it shows what NaN does.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from inputs import outputs, questions
from mlflow.models import EvaluationMetric, MetricThreshold, make_metric
from mlflow.models.evaluation import EvaluationResult
from mlflow.models.evaluation.validation import ModelValidationFailedException
from numpy.typing import NDArray

ACCURACY = "accuracy_score"


def main() -> None:
    reference, candidate, data = map(Path, sys.argv[1:4])
    mlflow.set_tracking_uri(f"sqlite:///{Path('mlflow.db').absolute()}")
    stored, limits = np.load(data), questions()
    y, classes = stored["y"], stored["classes"]
    logits = {(model, noisy): outputs(model, data, noisy=noisy) for model in (reference, candidate)
              for noisy in (False, True)}  # fmt: skip
    decided = {key: values.argmax(axis=1) for key, values in logits.items()}
    recalls = [recall(number) for number in np.unique(y)]
    parent, child = ({False: accuracy(decided[model, False], y, recalls), True: accuracy(decided[model, True], y)}
                     for model in (reference, candidate))  # fmt: skip
    same = accuracy(decided[candidate, False], decided[reference, False])
    lost = {
        "drop": (ACCURACY, False),
        "noisy_drop": (ACCURACY, True),
        **{f"recall_drop@class={classes[number]}": (f"recall_{number}", False) for number in np.unique(y)},
    }
    figures = {"agreement": 100 * same.metrics[ACCURACY]}
    passed = {"agreement": reaches(limits["agreement"] / 100, ACCURACY, same)}
    for name, (metric, noisy) in lost.items():
        before, after = (float(results[noisy].metrics[metric]) for results in (parent, child))
        figures[name] = 100 * (before - after)
        passed[name] = reaches(before - limits[name.partition("@")[0]] / 100, metric, child[noisy])
    losses = [loss(logits[model, False], y) for model in (candidate, reference)]
    rule = MetricThreshold(min_relative_change=0.0, greater_is_better=False)
    kept = {"passed": valid("loss", rule, *losses), "values": [each.metrics["loss"] for each in losses]}
    report = {"figures": figures, "passed": passed, "loss": kept, "metrics": sorted(same.metrics)}
    print(json.dumps(report))


def accuracy(
    decisions: NDArray[np.int64], labels: NDArray[np.int64], more: Sequence[EvaluationMetric] = ()
) -> EvaluationResult:
    """With `more` metrics beside it."""
    settings: dict[str, Any] = {
        "model_type": "classifier", "evaluator_config": {"log_explainer": False}, "extra_metrics": list(more),
    }  # fmt: skip
    return evaluated(decisions, labels, settings)


def recall(number: int) -> EvaluationMetric:
    """Share of the items of the class that are named so, as `recall_` and its number."""

    def share(predictions: pd.Series, targets: pd.Series, metrics: object) -> float:
        return float((predictions[targets == number] == number).mean())

    return make_metric(eval_fn=share, name=f"recall_{number}", greater_is_better=True)


def loss(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> EvaluationResult:
    """Cross-entropy, in nats."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    of_label = shifted[np.arange(len(labels)), labels] - np.log(np.exp(shifted).sum(axis=1))
    mean = make_metric(eval_fn=lambda predictions, targets, metrics: float(np.mean(predictions.to_numpy())),
                       name="loss", greater_is_better=False)  # fmt: skip
    return evaluated(-of_label, labels, {"extra_metrics": [mean]})


def evaluated(predictions: NDArray[Any], labels: NDArray[np.int64], settings: dict[str, Any]) -> EvaluationResult:
    frame = pd.DataFrame({"prediction": predictions, "target": labels})
    with mlflow.start_run():
        return mlflow.models.evaluate(
            data=frame, predictions="prediction", targets="target", evaluators="default", **settings
        )


def reaches(least: float, name: str, result: EvaluationResult) -> bool:
    return valid(name, MetricThreshold(threshold=least, greater_is_better=True), result)


def valid(name: str, rule: MetricThreshold, candidate: EvaluationResult, baseline: Any = None) -> bool:
    try:
        mlflow.validate_evaluation_results({name: rule}, candidate, baseline)
    except ModelValidationFailedException:
        return False
    return True


if __name__ == "__main__":
    main()
