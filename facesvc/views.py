"""The JSON shapes of answers and stored things: one contract for HTTP and the command line.

Coordinates are pixels of the photograph as sent, rounded to 0.01; distances are squared L2, unrounded.
"""

import base64
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facesvc.core.agreement import Agreement, Table
from facesvc.core.answers import Enrolment, EnrolmentOutcome, Identification, IdentifiedFace, Verification
from facesvc.core.audit import Line
from facesvc.core.decide import Calibration, Threshold
from facesvc.core.erasure import ErasureReceipt
from facesvc.core.model_change import LeftBehind
from facesvc.core.ports import Extractor
from facesvc.core.types import (
    DIMENSION,
    Candidate,
    Capture,
    Face,
    Gallery,
    Page,
    Quality,
    Reference,
    Sample,
    Shadow,
    Subject,
)
from facesvc.errors import FaceServiceError

View = dict[str, Any]


def verification(answer: Verification) -> View:
    reference = answer.reference
    return {
        "match": answer.match,
        "decision": answer.decision.value,
        "distance": answer.distance,
        "similarity": answer.similarity,
        **threshold(answer.threshold),
        "probe": _only_sample(answer.probe),
        "reference": candidate(reference) if isinstance(reference, Candidate) else _only_sample(reference),
        "timings_ms": timings(answer.timings),
    }


def identification(answer: Identification) -> View:
    return {
        "gallery": answer.gallery,
        "faces": [identified(face) for face in answer.faces],
        "faces_found": answer.capture.faces_found,
        "width": answer.capture.width,
        "height": answer.capture.height,
        "references": answer.references,
        "fpir_at_threshold": answer.fpir,
        **threshold(answer.threshold),
        "timings_ms": timings(answer.timings),
    }


def identified(face: IdentifiedFace) -> View:
    return {
        **sample(face.sample),
        "decision": face.decision,
        "candidates": [candidate(c) | {"match": face.threshold.matches(c.distance)} for c in face.candidates],
    }


def detection(capture: Capture) -> View:
    return {
        "faces": [sample(s) for s in capture.samples],
        "faces_found": capture.faces_found,
        "width": capture.width,
        "height": capture.height,
        "timings_ms": timings(capture.timings),
    }


def enrolment(answer: Enrolment) -> View:
    return {
        "gallery": answer.gallery,
        "subject": answer.subject,
        "enrolled": sum(outcome.reference is not None for outcome in answer.outcomes),
        "results": [enrolment_outcome(outcome) for outcome in answer.outcomes],
    }


def enrolment_outcome(outcome: EnrolmentOutcome) -> View:
    if outcome.reference is not None:
        return {"status": "enrolled", "reference": outcome.reference.id, **sample(outcome.reference.sample)}
    assert outcome.error is not None
    return {"status": "rejected", "code": outcome.error.code, "detail": outcome.error.detail}


def threshold(chosen: Threshold) -> View:
    return {
        "threshold": chosen.value,
        "fmr_at_threshold": chosen.fmr,
        "fmr_interval": list(chosen.fmr_interval) if chosen.fmr_interval else None,
        "template_version": chosen.template_version,
        "calibration": chosen.calibration,
    }


def candidate(found: Candidate) -> View:
    return {
        "subject": found.subject,
        "display_name": found.display_name,
        "distance": found.distance,
        "reference": found.reference,
    }


def sample(taken: Sample) -> View:
    return {**face(taken.face), "quality": quality(taken.quality)}


def _only_sample(capture: Capture) -> View:
    return {**sample(capture.samples[0]), "faces_found": capture.faces_found}


def face(found: Face) -> View:
    return {"box": _rounded(found.box), "landmarks": _rounded(found.landmarks), "score": round(found.score, 4)}


def quality(measured: Quality) -> View:
    return {
        "acceptable": measured.acceptable,
        "reasons": list(measured.reasons),
        "face_size": round(measured.face_size, 1),
        "sharpness": round(measured.sharpness, 2),
        "yaw": round(measured.yaw, 3),
        "pitch": round(measured.pitch, 3),
        "roll": round(measured.roll, 1),
        "brightness": round(measured.brightness, 1),
        "contrast": round(measured.contrast, 1),
    }


def gallery(kept: Gallery) -> View:
    return {
        "name": kept.name,
        "template_version": kept.template_version,
        "keep_photographs": kept.keep_photographs,
        "subjects": kept.subjects,
        "references": kept.references,
        "templates": kept.templates,
        "model_change": shadow(kept.shadow) if kept.shadow else None,
        "revision": kept.revision,
        "metadata": dict(kept.metadata),
        "created_at": moment(kept.created_at),
    }


def shadow(held: Shadow) -> View:
    return {"template_version": held.template_version, "state": held.state.value, "templates": held.templates}


def model_change(kept: Gallery) -> View:
    """missing: of the version that does not answer; null where there is none, or none to come."""
    return {
        "gallery": kept.name,
        "template_version": kept.template_version,
        "references": kept.references,
        "templates": kept.templates,
        "other": shadow(kept.shadow) if kept.shadow else None,
        "missing": kept.references - kept.shadow.templates if kept.shadow and len(kept.versions) > 1 else None,
    }


def left_behind(found: LeftBehind) -> View:
    return {"reference": found.reference, "subject": found.subject, "code": found.code}


def agreement(found: Agreement) -> View:
    return {
        "old": {"template_version": found.old_version, "threshold": found.old_threshold},
        "new": {"template_version": found.new_version, "threshold": found.new_threshold},
        "references": found.references,
        "mated": table(found.mated),
        "non_mated": table(found.non_mated),
        "rank_1": table(found.rank_1),
        "worst": [asdict(disagreement) | {"references": [*disagreement.references]} for disagreement in found.worst],
    }


def table(counted: Table) -> View:
    return {
        **asdict(counted),
        "total": counted.total,
        "changed": counted.changed,
        "changed_interval": list(counted.interval),
    }


def subject(kept: Subject) -> View:
    return {
        "id": kept.id,
        "gallery": kept.gallery,
        "display_name": kept.display_name,
        "references": kept.references,
        "metadata": dict(kept.metadata),
        "consent": kept.consent,
        "expires_at": moment(kept.expires_at) if kept.expires_at else None,
        "created_at": moment(kept.created_at),
        "updated_at": moment(kept.updated_at),
    }


def erasure_receipt(made: ErasureReceipt) -> View:
    signature = {"public_key": made.signature.public_key, "value": made.signature.value}
    encoded = {name: base64.b64encode(value).decode() for name, value in signature.items()}
    return {"statement": made.statement, "signature": {"algorithm": "Ed25519", **encoded}}


def audit_line(line: Line) -> View:
    return {"line": line.sequence, **line.told, "digest": line.digest.hex()}


def reference(kept: Reference) -> View:
    """Never the vector: templates do not leave the service through a listing."""
    return {
        "id": kept.id,
        "subject": kept.subject,
        **sample(kept.sample),
        "template_version": kept.sample.template.version if kept.has_template else None,
        "image_sha256": kept.image_sha256,
        "has_photograph": kept.has_photograph,
        "created_at": moment(kept.created_at),
    }


def model(pack: Extractor) -> View:
    """The contract of the templates in use: their version, threshold and what its error rate rests on."""
    known = pack.calibration
    return {
        "name": pack.pack,
        "title": pack.title,
        "template_version": pack.template_version,
        "dimension": DIMENSION,
        "threshold": pack.threshold,
        "largest_distance": 4 * pack.norm**2,
        "fmr_at_threshold": known.claimed_fmr(pack.threshold) if known else None,
        "fmr_interval": list(known.claimed_interval(pack.threshold)) if known else None,
        "calibration": calibration(known) if known else None,
    }


def calibration(measured: Calibration) -> View:
    return {
        "id": measured.id,
        "data": measured.data,
        "mated": measured.mated,
        "non_mated": measured.non_mated,
        "smallest_fmr": measured.smallest_fmr,
    }


def page(listed: Page[Any], shape: Any) -> View:
    return {"items": [shape(item) for item in listed.items], "next_cursor": listed.next_cursor}


def error(raised: FaceServiceError) -> View:
    """Code, title and detail, and the input it is about where the caller gave several."""
    shaped: View = {"code": raised.code, "title": raised.title, "detail": raised.detail}
    return shaped | ({"source": raised.source} if raised.source else {})


def timings(measured: Mapping[str, float]) -> dict[str, float]:
    return {stage: round(milliseconds, 3) for stage, milliseconds in measured.items()}


def moment(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _rounded(values: NDArray[np.float32]) -> list[Any]:
    return np.round(values.astype(np.float64), 2).tolist()
