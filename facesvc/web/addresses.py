"""Addresses of stored things, for Location headers."""

from urllib.parse import quote


def gallery_address(gallery: str) -> str:
    return f"/v1/galleries/{quote(gallery, safe='')}"


def subject_address(gallery: str, subject: str) -> str:
    return f"{gallery_address(gallery)}/subjects/{quote(subject, safe='')}"


def references_address(gallery: str, subject: str) -> str:
    return f"{subject_address(gallery, subject)}/references"


def reference_address(gallery: str, subject: str, reference: str) -> str:
    return f"{references_address(gallery, subject)}/{quote(reference, safe='')}"
