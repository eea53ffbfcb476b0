"""The service's Prometheus metrics, in a registry of their own per application."""

from collections.abc import Iterable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from facesvc.core.answers import Enrolment
from facesvc.core.types import LoadedIndex
from facesvc.service.disclosure import Alarm

REQUEST_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8)
STAGE_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0)


class Metrics:
    """Never a label whose values come from outside: routes are templates, codes and stages are fixed sets."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Histogram(
            "facesvc_request_seconds",
            "Time to answer a request",
            ("method", "route", "status"),
            buckets=REQUEST_SECONDS,
            registry=self.registry,
        )
        self.in_flight = Gauge("facesvc_requests_in_flight", "Requests being answered", registry=self.registry)
        self.decisions = Counter(
            "facesvc_decisions", "Decisions taken", ("operation", "decision"), registry=self.registry
        )
        self.stages = Histogram(
            "facesvc_stage_seconds",
            "Time in a stage of the pipeline, per request",
            ("stage",),
            buckets=STAGE_SECONDS,
            registry=self.registry,
        )
        self.enrolments = Counter(
            "facesvc_enrolments", "Photographs enrolled or refused, by error code", ("outcome",), registry=self.registry
        )
        self.alarms = Counter(
            "facesvc_alarms", "Alarms: canaries that matched", ("alarm", "operation"), registry=self.registry
        )
        self.index_references = Gauge(
            "facesvc_index_references", "References in the indexes in memory", ("kind",), registry=self.registry
        )
        self.index_bytes = Gauge(
            "facesvc_index_bytes", "Memory of their vectors and keys", ("kind",), registry=self.registry
        )
        self.model = Gauge(
            "facesvc_model", "The template version in use (always 1)", ("template_version",), registry=self.registry
        )

    def record_alarm(self, alarm: Alarm) -> None:
        self.alarms.labels("canary", alarm.action).inc()

    def record_indexes(self, loaded: Iterable[LoadedIndex]) -> None:
        """What lies in memory at this moment, by the kind of index."""
        for gauge in (self.index_references, self.index_bytes):
            gauge.clear()
        for index in loaded:
            self.index_references.labels(index.kind).inc(index.references)
            self.index_bytes.labels(index.kind).inc(index.nbytes)

    def record_stages(self, timings_ms: Mapping[str, float]) -> None:
        for stage, milliseconds in timings_ms.items():
            self.stages.labels(stage).observe(milliseconds / 1000)

    def record_decision(self, operation: str, decision: str) -> None:
        self.decisions.labels(operation, decision).inc()

    def record_enrolment(self, answer: Enrolment) -> None:
        for outcome in answer.outcomes:
            self.enrolments.labels("enrolled" if outcome.error is None else outcome.error.code).inc()

    def text(self) -> bytes:
        """Prometheus's text format."""
        return generate_latest(self.registry)
