"""The three questions as MLflow's model validation asks them.

    python mlflow_gate.py reference.onnx candidate.onnx test.npz

`mlflow.models.evaluate` computes every figure from decisions and labels, and `mlflow.validate_evaluation_results`
decides. A `MetricThreshold` cannot permit a loss against a baseline, so the limit is a number that the script works
out from the reference's own evaluation. Agreement is accuracy with the reference's decisions as labels. The rule
about the loss function asks that the candidate be no worse than the reference: it shows what NaN does.
"""

import json
import sys
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from inputs import outputs, questions
from mlflow.models import MetricThreshold, make_metric
from mlflow.models.evaluation import EvaluationResult
from mlflow.models.evaluation.validation import ModelValidationFailedException
from numpy.typing import NDArray


def main() -> None:
    reference, candidate, data = map(Path, sys.argv[1:4])
    mlflow.set_tracking_uri(f"sqlite:///{Path('mlflow.db').absolute()}")
    y, limits = np.load(data)["y"], questions()
    logits = {(model, noisy): outputs(model, data, noisy=noisy) for model in (reference, candidate)
              for noisy in (False, True)}  # fmt: skip
    decided = {key: values.argmax(axis=1) for key, values in logits.items()}
    parent = {noisy: accuracy(decided[reference, noisy], y) for noisy in (False, True)}
    asked = {
        "drop": (accuracy(decided[candidate, False], y), score(parent[False]) - limits["drop"] / 100),
        "agreement": (accuracy(decided[candidate, False], decided[reference, False]), limits["agreement"] / 100),
        "noisy_drop": (accuracy(decided[candidate, True], y), score(parent[True]) - limits["noisy_drop"] / 100),
    }
    figures = {
        "drop": 100 * (score(parent[False]) - score(asked["drop"][0])),
        "agreement": 100 * score(asked["agreement"][0]),
        "noisy_drop": 100 * (score(parent[True]) - score(asked["noisy_drop"][0])),
    }
    passed = {name: valid("accuracy_score", MetricThreshold(threshold=least, greater_is_better=True), result)
              for name, (result, least) in asked.items()}  # fmt: skip
    losses = [loss(logits[model, False], y) for model in (candidate, reference)]
    rule = MetricThreshold(min_relative_change=0.0, greater_is_better=False)
    kept = {"passed": valid("loss", rule, *losses), "values": [each.metrics["loss"] for each in losses]}
    report = {"figures": figures, "passed": passed, "loss": kept, "metrics": sorted(parent[False].metrics)}
    print(json.dumps(report))


def accuracy(decisions: NDArray[np.int64], labels: NDArray[np.int64]) -> EvaluationResult:
    settings: dict[str, Any] = {"model_type": "classifier", "evaluator_config": {"log_explainer": False}}
    return evaluated(decisions, labels, settings)


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


def score(result: EvaluationResult) -> float:
    return float(result.metrics["accuracy_score"])


def valid(name: str, rule: MetricThreshold, candidate: EvaluationResult, baseline: Any = None) -> bool:
    try:
        mlflow.validate_evaluation_results({name: rule}, candidate, baseline)
    except ModelValidationFailedException:
        return False
    return True


if __name__ == "__main__":
    main()
