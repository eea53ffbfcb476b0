"""Gallery files that only the holder of a secret can read: Parquet Modular Encryption, which other tools know too.

All columns and the footer are encrypted with AES-GCM, under random keys that the file holds wrapped.

Entries a few at a time: by number, and by the photographs' size.
"""

import base64
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from pyarrow.parquet import encryption

from facesvc.core.types import Entry
from facesvc.crypto.envelope import Passphrase

ENCRYPTED = b"PARE"
"""The last bytes of a file whose footer is encrypted; PAR1 ends a plain one (Parquet Modular Encryption, 5.2)."""
NAME = "passphrase"


def is_sealed(path: Path) -> bool:
    """Raises OSError."""
    with path.open("rb") as file:
        file.seek(0, 2)
        file.seek(max(file.tell() - len(ENCRYPTED), 0))
        return file.read() == ENCRYPTED


class Sealing:
    """Encrypts and decrypts Parquet files with keys that the passphrase wraps."""

    def __init__(self, passphrase: Passphrase) -> None:
        self._factory = encryption.CryptoFactory(lambda _: _Client(passphrase))
        self._connection = encryption.KmsConnectionConfig()

    def writing(self) -> Any:
        """For parquet.ParquetWriter, as encryption_properties."""
        wanted = encryption.EncryptionConfiguration(
            footer_key=NAME, uniform_encryption=True, plaintext_footer=False, data_key_length_bits=256
        )
        return self._factory.file_encryption_properties(self._connection, wanted)

    def reading(self) -> Any:
        """For parquet.ParquetFile, as decryption_properties."""
        return self._factory.file_decryption_properties(self._connection)


class _Client(encryption.KmsClient):
    """What Parquet takes for a key management service."""

    def __init__(self, passphrase: Passphrase) -> None:
        super().__init__()
        self._passphrase = passphrase

    def wrap_key(self, key_bytes: bytes, master_key_identifier: str) -> str:
        return base64.b64encode(self._passphrase.wrap(key_bytes)).decode()

    def unwrap_key(self, wrapped_key: str, master_key_identifier: str) -> bytes:
        return self._passphrase.unwrap(base64.b64decode(wrapped_key))


def batches(entries: Iterable[Entry], count: int, photograph_bytes: int) -> Iterator[list[Entry]]:
    """Lists of ``count`` entries, or fewer where their photographs reach ``photograph_bytes`` before."""
    batch: list[Entry] = []
    size = 0
    for entry in entries:
        batch.append(entry)
        size += len(entry.reference.new.photograph or b"") if entry.reference else 0
        if len(batch) == count or size >= photograph_bytes:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
