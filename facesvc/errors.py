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
    """Base of all. ``code`` is stable, ``title`` is its plain-words name, ``advice`` says what to do about it,
    ``str(e)`` is the detail."""

    code: ClassVar[str] = "internal_error"
    title: ClassVar[str] = "Internal error"
    advice: ClassVar[str] = "The service failed. Quote the X-Request-ID of the answer to whoever runs it."

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
    advice = "The file can't be used as a photograph."


class NotAnImage(ImageError):
    code, title = "not_an_image", "Not an image"
    advice = "The bytes are not of any image format. Send the file itself, not a link or a thumbnail page."


class UnsupportedFormat(ImageError):
    code, title = "unsupported_format", "Image format not supported"
    advice = "Send JPEG, PNG, WebP or HEIC."


class CorruptImage(ImageError):
    code, title = "corrupt_image", "Image is damaged"
    advice = "The file is cut short or damaged. Export or upload it again."


class ImageTooLarge(ImageError):
    code, title = "image_too_large", "Image too large"
    advice = "The file has too many bytes or pixels. Scale the photograph down; 2 megapixels are plenty."


class ImageTooSmall(ImageError):
    code, title = "image_too_small", "Image too small"
    advice = "The photograph has too few pixels to hold a usable face."


# --- detect and assess --------------------------------------------------------------------------


class SampleError(FaceServiceError):
    """The photograph holds no usable face sample: a failure to acquire (ISO/IEC 19795-1)."""

    code, title = "sample_error", "Unusable face sample"
    advice = "The photograph holds no usable face."


class NoFace(SampleError):
    code, title = "no_face", "No face found"
    advice = "Use a photograph in which the face is visible, upright and at least 40 pixels wide."


class SeveralFaces(SampleError):
    code, title = "several_faces", "Several faces found"
    advice = "Crop the photograph to one person, or send face=prominent to use the most prominent face."


class TooManyFaces(SampleError):
    code, title = "too_many_faces", "Too many faces found"
    advice = "Crop the photograph, or split it."


class FaceTooSmall(SampleError):
    code, title = "face_too_small", "Face too small"
    advice = "Use a larger photograph or one taken from nearer."


class FaceBlurred(SampleError):
    code, title = "face_blurred", "Face blurred"
    advice = "Use a sharper photograph."


class FaceTurned(SampleError):
    code, title = "face_turned", "Face turned away"
    advice = "Use a photograph that looks towards the camera."


class FaceTooDark(SampleError):
    code, title = "face_too_dark", "Face too dark"
    advice = "Use a photograph with more light on the face."


class FaceTooBright(SampleError):
    code, title = "face_too_bright", "Face too bright"
    advice = "Use a photograph that is not overexposed."


class FaceCutOff(SampleError):
    code, title = "face_cut_off", "Face cut off by the border"
    advice = "Use a photograph that shows the whole face."


# --- models ---------------------------------------------------------------------------------------


class ModelError(FaceServiceError):
    """A model pack is absent, incomplete or not what its manifest says."""

    code, title = "model_error", "Model unusable"
    advice = "The model pack can't be used. Whoever runs the service should run `facesvc doctor`."


class PackNotFound(ModelError):
    code, title = "pack_not_found", "Model pack not found"
    advice = "No model pack has this name; see `facesvc models list`."


class CarrierMissing(ModelError):
    code, title = "carrier_missing", "No carrier of the model's weights found"
    advice = "The package that carries the model's weights is not installed; see `facesvc doctor`."


class PackDamaged(ModelError):
    code, title = "pack_damaged", "Model pack damaged"
    advice = "The model pack's files do not have the digests of its manifest; build it again."


class PackInvalid(ModelError):
    code, title = "pack_invalid", "Model pack manifest invalid"
    advice = "The model pack's manifest is not valid."


class Overloaded(FaceServiceError):
    """A bounded queue is full; ask again later."""

    code, title = "overloaded", "Service busy"
    advice = "Too many photographs are waiting. Try again after the seconds in Retry-After."


# --- compare and decide ---------------------------------------------------------------------------


class TemplateVersionMismatch(FaceServiceError):
    """Two templates of different versions were about to be compared."""

    code, title = "template_version_mismatch", "Templates of different versions"
    advice = "No model pack here makes such templates. Build it, or change the gallery's model."


class DecisionError(FaceServiceError):
    code, title = "decision_error", "No decision possible"
    advice = "No decision is possible."


class InvalidThreshold(DecisionError):
    code, title = "invalid_threshold", "Threshold out of range"
    advice = "Give a threshold between 0 and 4, or a target FMR, not both."


class TargetFmrUnsupported(DecisionError):
    code, title = "target_fmr_unsupported", "Calibration can't support this false match rate"
    advice = "The calibration rests on too few comparisons for this rate. Ask for a higher one."


class CalibrationMissing(DecisionError):
    code, title = "calibration_missing", "Model pack has no calibration"
    advice = "This model pack was never calibrated. Give a threshold instead of a target FMR."


# --- store ------------------------------------------------------------------------------------------


class StoreError(FaceServiceError):
    code, title = "store_error", "Store error"
    advice = "The database refused the operation."


class GalleryNotFound(StoreError):
    code, title = "gallery_not_found", "Gallery not found"
    advice = "Create the gallery first: POST /v1/galleries."


class GalleryExists(StoreError):
    code, title = "gallery_exists", "Gallery exists already"
    advice = "Choose another name, or use the gallery that is there."


class SubjectNotFound(StoreError):
    code, title = "subject_not_found", "Subject not found"
    advice = "No such subject in the gallery, or it has no references yet."


class SubjectExists(StoreError):
    code, title = "subject_exists", "Subject exists already"
    advice = "Choose another id, or change the subject that is there: PATCH."


class ReferenceNotFound(StoreError):
    code, title = "reference_not_found", "Reference not found"
    advice = "The subject has no such reference; it may have been deleted."


class PhotographNotFound(StoreError):
    code, title = "photograph_not_found", "Photograph not kept"
    advice = "The gallery did not keep photographs when this reference was enrolled."


class InvalidCursor(StoreError):
    code, title = "invalid_cursor", "Cursor not valid"
    advice = "Use next_cursor of the page before, unchanged, or start without one."


class IdempotencyKeyInUse(StoreError):
    code, title = "idempotency_key_in_use", "Request is being worked on"
    advice = "The first request with this key is not done yet. Send it again after Retry-After."


class IdempotencyKeyReused(StoreError):
    code, title = "idempotency_key_reused", "Idempotency key of another request"
    advice = "This key came with another request within the last 24 hours. Make a key for each."


class ModelChangeConflict(StoreError):
    code, title = "model_change_conflict", "Not possible at this point of the model change"
    advice = "GET the gallery's model-change shows where it is, and what can follow."


class ModelChangeIncomplete(StoreError):
    code, title = "model_change_incomplete", "References lack a template of the other model"
    advice = "Embed the rest first; or see who is left behind, and say leave_behind."


class StoreUnavailable(StoreError):
    code, title = "store_unavailable", "Database not available"
    advice = "The database does not answer. Try again after the seconds in Retry-After."


class IndexUnavailable(StoreError):
    """The engine that keeps a gallery's index does not answer, or not as it should; ask again later."""

    code, title = "index_unavailable", "Vector engine not available"
    advice = "The vector engine does not answer. Try again after the seconds in Retry-After."


# --- send to a cluster ------------------------------------------------------------------------------


class ClusterUnavailable(FaceServiceError):
    code, title = "cluster_unavailable", "Cluster not available"
    advice = "Check the cluster's address, its token and whether it has free CPUs."


class WorkerLost(FaceServiceError):
    """Whichever worker had this photograph in work came to an end."""

    code, title = "worker_lost", "Workers lost with this photograph"
    advice = "The photograph may need more memory than a worker has. Scale it down, or process it by itself."


# --- fetch ------------------------------------------------------------------------------------------


class SamplesUnavailable(FaceServiceError):
    code, title = "samples_unavailable", "Sample photographs could not be fetched"
    advice = "pip could not fetch the sample photographs; use some of your own."


# --- ask --------------------------------------------------------------------------------------------


class RequestError(FaceServiceError):
    code, title = "invalid_request", "Request not valid"
    advice = "The request has not the shape that the operation documents; see `errors` and /openapi.json."


class UnsupportedMediaType(RequestError):
    code, title = "unsupported_media_type", "Media type not supported"
    advice = "Send multipart/form-data with files, or application/json with base64."


class RequestTooLarge(RequestError):
    code, title = "request_too_large", "Request too large"
    advice = "Send fewer or smaller photographs in one request."


class FileUnreadable(RequestError):
    code, title = "file_unreadable", "File can't be read"
    advice = "The file is not there, or may not be read."


class ImportInvalid(RequestError):
    """A file or another system's store that holds no gallery in a form that can be taken."""

    code, title = "import_invalid", "Nothing that can be imported"
    advice = "The file is damaged, or nothing that `facesvc galleries import` reads."


class RemoteError(FaceServiceError):
    """What a server answered to the CLI; carries the server's own code."""

    code, title = "remote_error", "Server could not be asked"
    advice = "Another server did not answer as expected."

    def __init__(self, detail: str | None = None, code: str | None = None) -> None:
        super().__init__(detail)
        if code:
            self.code = code  # type: ignore[misc]  # the server's code stands for this instance


class Unauthenticated(RequestError):
    """No API key came with the request, or none that is valid (any more): which of these is not said."""

    code, title = "unauthenticated", "API key missing or not valid"
    advice = "Send a valid API key: Authorization: Bearer facesvc_... It may have expired or been revoked."


class Forbidden(RequestError):
    code, title = "forbidden", "This API key may not do that"
    advice = "Ask whoever runs the service for a key with the role that this operation needs."


class RateLimited(FaceServiceError):
    """Too many requests of one key or address. retry_after: seconds until asking again makes sense."""

    code, title = "rate_limited", "Too many requests"
    advice = "Ask less often. Try again after the seconds in Retry-After."

    def __init__(self, detail: str | None = None, retry_after: int = 1) -> None:
        super().__init__(detail)
        self.retry_after = retry_after


class IdentityBudgetSpent(RateLimited):
    """The key has been told of as many different subjects as it may within a day."""

    code, title = "identity_budget_spent", "Identity budget spent"
    advice = "This key has been told of all the subjects it may within a day; see Retry-After."


class ImageUrlRefused(RequestError):
    """A photograph's address that is not fetched: URLs are off, or this one is not of a public image."""

    code, title = "image_url_refused", "Photograph's address refused"
    advice = "Send the photograph itself, or the https address of a public image where URLs are allowed."


class TooManyReferences(StoreError):
    """The subject has as many references as one may have, or would with these."""

    code, title = "too_many_references", "Too many references of one subject"
    advice = "Delete references that are not needed; a few good photographs of a person are plenty."


class MasterKeyUnavailable(StoreError):
    """Without the master key nothing that is stored can be opened."""

    code, title = "master_key_unavailable", "Master key not available"
    advice = "Whoever runs the service must give it the master key; see `facesvc doctor`."


class SealBroken(StoreError):
    """Stored bytes that were changed, moved to another row, or sealed with another key."""

    code, title = "seal_broken", "Stored value damaged or exchanged"
    advice = "A stored value was changed outside the service, or sealed with another key; restore a backup."


class ApiKeyNotFound(StoreError):
    code, title = "api_key_not_found", "API key not found"
    advice = "There is no API key with this id; GET /v1/api-keys lists them."


class TenantNotFound(StoreError):
    code, title = "tenant_not_found", "Tenant not found"
    advice = "There is no such tenant; see `facesvc tenants list`."


class TenantExists(StoreError):
    code, title = "tenant_exists", "Tenant exists already"
    advice = "Choose another name, or use the tenant that is there."


class AuditBroken(StoreError):
    """A line of the audit log was altered, taken out, put in or moved."""

    code, title = "audit_broken", "Audit log altered"
    advice = "The audit log was changed outside the service. Keep the database as it is, and investigate."


class ReceiptInvalid(RequestError):
    code, title = "receipt_invalid", "Receipt not valid"
    advice = "The receipt was not signed by this service, or was altered."
