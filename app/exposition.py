"""The exposition: the metrics in Prometheus's and OpenMetrics's text formats.

Names of HTTP metrics are OpenTelemetry's, as Prometheus writes them; the others begin
with `offsetnet_`.

References:
    OpenTelemetry, Semantic conventions for HTTP metrics, http.server.request.duration.
    Prometheus, Metric and label naming.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import accumulate
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeHistogramMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString
from sqlalchemy.exc import SQLAlchemyError

from app.desk import Desk
from app.job_statistics import SECONDS, JobStatistics, Look
from app.metrics import Histogram, Metrics
from app.registry import Registry
from app.store import StoreError

OPENMETRICS: Final = "application/openmetrics-text"

_REQUEST_LABELS: Final = (
    "http_request_method",
    "http_route",
    "http_response_status_code",
)


async def look(
    registry: Registry, statistics: JobStatistics, desk: Desk
) -> Look | None:
    """Return what stands in the database, or None while that does not answer."""
    if not registry.is_degraded:
        with suppress(SQLAlchemyError, StoreError):
            return await desk.ask(statistics.look)
    return None


def expose(
    metrics: Metrics, registry: Registry, stored: Look | None, accept: str
) -> tuple[bytes, str]:
    """Return all metrics and their media type, in the format that the caller accepts.

    Args:
        metrics: What the processes count.
        registry: What this one serves.
        stored: What stands in the database, where that answers.
        accept: The header.
    """
    collectors = CollectorRegistry(auto_describe=False)
    collectors.register(_Collector(metrics, registry, stored))
    is_open = OPENMETRICS in accept.lower()
    encode, media_type = choose_encoder(f"{OPENMETRICS}; version=1.0.0" * is_open)
    return encode(collectors), media_type


class _Collector(Collector):
    def __init__(
        self, metrics: Metrics, registry: Registry, stored: Look | None
    ) -> None:
        self._metrics, self._registry, self._look = metrics, registry, stored

    def collect(self) -> Iterator[Metric]:
        """Yield each metric."""
        yield from _counted(self._metrics)
        yield from _served(self._registry)
        if self._look is not None:
            yield from _stored(self._look)


def _counted(metrics: Metrics) -> Iterator[Metric]:
    """Yield what the processes count."""
    totals = metrics.read()
    yield _requests(totals.requests)
    yield _histogram(
        "offsetnet_prediction_probability",
        "Probabilities of label F that were answered.",
        totals.probability,
    )
    yield _counter("offsetnet_predictions", "People answered.", "label", totals.labels)
    yield _histogram(
        "offsetnet_event_loop_lag_seconds",
        "How late the event loop came back to a task that slept.",
        totals.lag,
    )
    yield CounterMetricFamily(
        "offsetnet_bugs", "Answers of 500; the log has why.", value=totals.bugs
    )
    yield CounterMetricFamily(
        "offsetnet_swaps",
        "Versions that took another's place, in each process.",
        value=totals.swaps,
    )
    yield _counter(
        "offsetnet_sheds", "Requests turned away, for now.", "reason", totals.sheds
    )


def _requests(by_kind: Mapping[tuple[str, str, int], Histogram]) -> Metric:
    requests = HistogramMetricFamily(
        "http_server_request_duration_seconds",
        "Time from a request's arrival to the end of its answer.",
        labels=_REQUEST_LABELS,
    )
    for (method, route, status), found in by_kind.items():
        code = str(status) if status else ""
        requests.add_metric((method, route, code), _buckets(found), found.total)
    return requests


def _served(registry: Registry) -> Iterator[Metric]:
    """Yield what the process that is asked serves."""
    served = registry.served
    if served is not None:
        info = {"version": str(served.version), "sha256": served.sha256}
        yield InfoMetricFamily(
            "offsetnet_active_model", "The version that serves.", value=info
        )
    yield GaugeMetricFamily(
        "offsetnet_active_model_generation",
        "How often the active version, or the one before it, changed.",
        value=registry.generation,
    )
    yield GaugeMetricFamily(
        "offsetnet_degraded",
        "Whether the database does not answer.",
        value=registry.is_degraded,
    )


def _stored(look: Look) -> Iterator[Metric]:
    """Yield what all servers and runners of a database share."""
    jobs = GaugeMetricFamily(
        "offsetnet_jobs", "Jobs that are kept.", labels=("state", "outcome")
    )
    durations = GaugeHistogramMetricFamily(
        "offsetnet_training_duration_seconds",
        "Time from start to end of the jobs that are kept.",
        labels=("state", "outcome"),
    )
    queued = 0
    for kind in look.kinds:
        labels = (kind.state, kind.outcome)
        jobs.add_metric(labels, kind.number)
        queued += kind.number if kind.state == "queued" else 0
        if kind.within[-1]:
            durations.add_metric(labels, _named(SECONDS, kind.within), kind.seconds)
    yield jobs
    yield durations
    yield GaugeMetricFamily("offsetnet_queue_depth", "Jobs that wait.", value=queued)
    yield GaugeMetricFamily(
        "offsetnet_queue_oldest_seconds",
        "How long the job that waits longest has waited.",
        value=look.oldest_seconds,
    )


def _histogram(name: str, text: str, found: Histogram) -> Metric:
    buckets = _buckets(found)
    return HistogramMetricFamily(name, text, buckets=buckets, sum_value=found.total)


def _counter(name: str, text: str, label: str, found: dict[str, float]) -> Metric:
    counter = CounterMetricFamily(name, text, labels=[label])
    for value, number in found.items():
        counter.add_metric([value], number)
    return counter


def _buckets(found: Histogram) -> list[tuple[str, float]]:
    return _named(found.bounds, accumulate(found.counts))


def _named(bounds: Sequence[float], within: Iterable[float]) -> list[tuple[str, float]]:
    """Pair the bounds, and infinity, with how many values do not pass them."""
    names = [*map(floatToGoString, bounds), "+Inf"]
    return list(zip(names, within, strict=True))
