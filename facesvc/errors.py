"""Every failure the service can name, drawn along the data flow.

::

    photograph --decode--> Image          ImageError: not_an_image, unsupported_format,
                                            corrupt_image, image_too_large, image_too_small
    Image      --detect--> Face           SampleError: no_face, several_faces, too_many_faces
    Face       --assess--> Quality        SampleError: face_too_small, face_blurred, face_turned,
                                            face_too_dark, face_too_bright, face_cut_off
    Face       --embed---> Template       ModelError: pack_not_found, carrier_missing, pack_damaged,
                                            pack_invalid; Overloaded
    Template   --compare-> distance       TemplateVersionMismatch
    distance   --decide--> Decision       DecisionError: invalid_threshold, target_fmr_unsupported,
                                            calibration_missing
    Template   --store---> Reference      StoreError: gallery_not_found, gallery_exists,
                                            subject_not_found, subject_exists, reference_not_found,
                                            photograph_not_found, invalid_cursor, idempotency_key_in_use,
                                            idempotency_key_reused, store_unavailable, index_unavailable,
                                            model_change_conflict, model_change_incomplete
    photograph --send----> cluster        ClusterUnavailable, WorkerLost (batches on Ray)
    registry   --fetch---> samples        SamplesUnavailable
    file       --import--> gallery        ImportInvalid: import_invalid
    anything   --ask-----> facesvc        RequestError: invalid_request, unsupported_media_type,
                                            request_too_large; file_unreadable (the CLI's files),
                                            RemoteError (the CLI's --server)

Codes are stable: clients may switch on them. More of them: ``facesvc.errors``; HTTP statuses: ``facesvc.web.errors``.

Failures of those who may not, too often, or not any more: the second half of ``facesvc.errors``.

::

    request   --authenticate--> Caller     unauthenticated, forbidden
    Caller    --ask----------> answer      rate_limited, identity_budget_spent, image_url_refused
    Subject   --enrol--------> Reference   too_many_references
    stored    --open---------> value       master_key_unavailable, seal_broken
    keys, tenants                          api_key_not_found, tenant_not_found, tenant_exists
    audit, receipts                        audit_broken, receipt_invalid
"""

import copyreg
from typing import Any, ClassVar


class FaceServiceError(Exception):
    """Base of all. ``code`` is stable, ``title`` is its plain-words name, ``str(e)`` is the detail."""

    code: ClassVar[str] = "internal_error"
    title: ClassVar[str] = "Internal error"

    source: str | None = None
    """Which of the caller's inputs it is about: "probe", "reference", "image"; None where there is one only."""

    def __init__(self, detail: str | None = None) -> None:
        super().__init__(detail or self.title)

    @property
    def detail(self) -> str:
        return str(self)

    def __reduce__(self) -> tuple[Any, ...]:
        """Crosses process borders whole: a kind's ``__init__`` may take something else than the detail that it makes
        of it, so the copy is made without it."""
        return copyreg.__newobj__, (type(self), *self.args), self.__dict__  # type: ignore[attr-defined]


# --- decode -----------------------------------------------------------------------------------


class ImageError(FaceServiceError):
    """The bytes could not become an Image."""

    code, title = "image_error", "Unusable image"


class NotAnImage(ImageError):
    code, title = "not_an_image", "Not an image"


class UnsupportedFormat(ImageError):
    code, title = "unsupported_format", "Image format not supported"


class CorruptImage(ImageError):
    code, title = "corrupt_image", "Image is damaged"


class ImageTooLarge(ImageError):
    code, title = "image_too_large", "Image too large"


class ImageTooSmall(ImageError):
    code, title = "image_too_small", "Image too small"


# --- detect and assess --------------------------------------------------------------------------


class SampleError(FaceServiceError):
    """The photograph holds no usable face sample: a failure to acquire (ISO/IEC 19795-1)."""

    code, title = "sample_error", "Unusable face sample"


class NoFace(SampleError):
    code, title = "no_face", "No face found"


class SeveralFaces(SampleError):
    code, title = "several_faces", "Several faces found"


class TooManyFaces(SampleError):
    code, title = "too_many_faces", "Too many faces found"


class FaceTooSmall(SampleError):
    code, title = "face_too_small", "Face too small"


class FaceBlurred(SampleError):
    code, title = "face_blurred", "Face blurred"


class FaceTurned(SampleError):
    code, title = "face_turned", "Face turned away"


class FaceTooDark(SampleError):
    code, title = "face_too_dark", "Face too dark"


class FaceTooBright(SampleError):
    code, title = "face_too_bright", "Face too bright"


class FaceCutOff(SampleError):
    code, title = "face_cut_off", "Face cut off by the border"


# --- models ---------------------------------------------------------------------------------------


class ModelError(FaceServiceError):
    """A model pack is absent, incomplete or not what its manifest says."""

    code, title = "model_error", "Model unusable"


class PackNotFound(ModelError):
    code, title = "pack_not_found", "Model pack not found"


class CarrierMissing(ModelError):
    code, title = "carrier_missing", "No carrier of the model's weights found"


class PackDamaged(ModelError):
    code, title = "pack_damaged", "Model pack damaged"


class PackInvalid(ModelError):
    code, title = "pack_invalid", "Model pack manifest invalid"


class Overloaded(FaceServiceError):
    """A bounded queue is full; ask again later."""

    code, title = "overloaded", "Service busy"


# --- compare and decide ---------------------------------------------------------------------------


class TemplateVersionMismatch(FaceServiceError):
    """Two templates of different versions were about to be compared."""

    code, title = "template_version_mismatch", "Templates of different versions"


class DecisionError(FaceServiceError):
    code, title = "decision_error", "No decision possible"


class InvalidThreshold(DecisionError):
    code, title = "invalid_threshold", "Threshold out of range"


class TargetFmrUnsupported(DecisionError):
    code, title = "target_fmr_unsupported", "Calibration can't support this false match rate"


class CalibrationMissing(DecisionError):
    code, title = "calibration_missing", "Model pack has no calibration"


# --- store ------------------------------------------------------------------------------------------


class StoreError(FaceServiceError):
    code, title = "store_error", "Store error"


class GalleryNotFound(StoreError):
    code, title = "gallery_not_found", "Gallery not found"


class GalleryExists(StoreError):
    code, title = "gallery_exists", "Gallery exists already"


class SubjectNotFound(StoreError):
    code, title = "subject_not_found", "Subject not found"


class SubjectExists(StoreError):
    code, title = "subject_exists", "Subject exists already"


class ReferenceNotFound(StoreError):
    code, title = "reference_not_found", "Reference not found"


class PhotographNotFound(StoreError):
    code, title = "photograph_not_found", "Photograph not kept"


class InvalidCursor(StoreError):
    code, title = "invalid_cursor", "Cursor not valid"


class IdempotencyKeyInUse(StoreError):
    code, title = "idempotency_key_in_use", "Request is being worked on"


class IdempotencyKeyReused(StoreError):
    code, title = "idempotency_key_reused", "Idempotency key of another request"


class ModelChangeConflict(StoreError):
    code, title = "model_change_conflict", "Not possible at this point of the model change"


class ModelChangeIncomplete(StoreError):
    code, title = "model_change_incomplete", "References lack a template of the other model"


class StoreUnavailable(StoreError):
    code, title = "store_unavailable", "Database not available"


class IndexUnavailable(StoreError):
    """The engine that keeps a gallery's index does not answer, or not as it should; ask again later."""

    code, title = "index_unavailable", "Vector engine not available"


# --- send to a cluster ------------------------------------------------------------------------------


class ClusterUnavailable(FaceServiceError):
    code, title = "cluster_unavailable", "Cluster not available"


class WorkerLost(FaceServiceError):
    """Whichever worker had this photograph in work came to an end."""

    code, title = "worker_lost", "Workers lost with this photograph"


# --- fetch ------------------------------------------------------------------------------------------


class SamplesUnavailable(FaceServiceError):
    code, title = "samples_unavailable", "Sample photographs could not be fetched"


# --- ask --------------------------------------------------------------------------------------------


class RequestError(FaceServiceError):
    code, title = "invalid_request", "Request not valid"


class UnsupportedMediaType(RequestError):
    code, title = "unsupported_media_type", "Media type not supported"


class RequestTooLarge(RequestError):
    code, title = "request_too_large", "Request too large"


class FileUnreadable(RequestError):
    code, title = "file_unreadable", "File can't be read"


class ImportInvalid(RequestError):
    """A file or another system's store that holds no gallery in a form that can be taken."""

    code, title = "import_invalid", "Nothing that can be imported"


class RemoteError(FaceServiceError):
    """What a server answered to the CLI; carries the server's own code."""

    code, title = "remote_error", "Server could not be asked"

    def __init__(self, detail: str | None = None, code: str | None = None) -> None:
        super().__init__(detail)
        if code:
            self.code = code  # type: ignore[misc]  # the server's code stands for this instance


class Unauthenticated(RequestError):
    """No API key came with the request, or none that is valid (any more): which of these is not said."""

    code, title = "unauthenticated", "API key missing or not valid"


class Forbidden(RequestError):
    code, title = "forbidden", "This API key may not do that"


class RateLimited(FaceServiceError):
    """Too many requests of one key or address. retry_after: seconds until asking again makes sense."""

    code, title = "rate_limited", "Too many requests"

    def __init__(self, detail: str | None = None, retry_after: int = 1) -> None:
        super().__init__(detail)
        self.retry_after = retry_after


class IdentityBudgetSpent(RateLimited):
    """The key has been told of as many different subjects as it may within a day."""

    code, title = "identity_budget_spent", "Identity budget spent"


class ImageUrlRefused(RequestError):
    """A photograph's address that is not fetched: URLs are off, or this one is not of a public image."""

    code, title = "image_url_refused", "Photograph's address refused"


class TooManyReferences(StoreError):
    """The subject has as many references as one may have, or would with these."""

    code, title = "too_many_references", "Too many references of one subject"


class MasterKeyUnavailable(StoreError):
    """Without the master key nothing that is stored can be opened."""

    code, title = "master_key_unavailable", "Master key not available"


class SealBroken(StoreError):
    """Stored bytes that were changed, moved to another row, or sealed with another key."""

    code, title = "seal_broken", "Stored value damaged or exchanged"


class ApiKeyNotFound(StoreError):
    code, title = "api_key_not_found", "API key not found"


class TenantNotFound(StoreError):
    code, title = "tenant_not_found", "Tenant not found"


class TenantExists(StoreError):
    code, title = "tenant_exists", "Tenant exists already"


class AuditBroken(StoreError):
    """A line of the audit log was altered, taken out, put in or moved."""

    code, title = "audit_broken", "Audit log altered"


class ReceiptInvalid(RequestError):
    code, title = "receipt_invalid", "Receipt not valid"
