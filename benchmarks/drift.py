"""Retrain on the same people again and again, each time with another seed.

The gate lets a version serve that is up to 1 % worse, so a chain of them might drift.
Every version that served is judged on people that none was trained on.

Usage: python -m benchmarks.drift [RETRAININGS]
"""

import sys

from app.gate import compare, decide
from app.settings import Settings
from model import (
    Artifact,
    CsvReader,
    Dataset,
    TrainingConfig,
    evaluate,
    sample_csv,
    train,
)

ROWS = 10_000
RETRAININGS = 30


def read_sample(seed: int) -> Dataset:
    """Return as many made-up people."""
    reader = CsvReader(labelled=True, max_rows=ROWS)
    for line in sample_csv(ROWS, seed):
        reader.feed(line.encode())
    return reader.finish().to_dataset()


def retrain(people: Dataset, seed: int) -> Artifact:
    """Train as a job does."""
    config = TrainingConfig(seed=seed)
    *_, last = train(people, config)
    return Artifact.of_training(last.params, people, config)


def main() -> None:
    """Print the mean squared error of the first, the last and the worst that served."""
    retrainings = int(sys.argv[1]) if len(sys.argv) > 1 else RETRAININGS
    people, judged = read_sample(0), read_sample(1)
    champion = retrain(people, 0)
    errors = [evaluate(champion.params, judged).mse]
    for seed in range(1, retrainings + 1):
        challenger = retrain(people, seed)
        comparison = compare(challenger, champion, people)
        decision = decide(
            "if_better", challenger, champion, comparison, Settings().gate_tolerance
        )
        if decision.outcome == "promoted":
            champion = challenger
            errors.append(evaluate(champion.params, judged).mse)
    first, last = errors[0], errors[-1]
    sys.stdout.write(
        f"{retrainings} retrainings on the same {ROWS:,} people, "
        f"{len(errors) - 1} promoted; mean squared error on {ROWS:,} others:\n"
        f"first {first:.6f}, last {last / first:.4f} times that, "
        f"worst {max(errors) / first:.4f} times that\n"
    )


if __name__ == "__main__":
    main()
