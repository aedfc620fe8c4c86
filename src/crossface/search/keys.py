"""Keys of a gallery: one secret from the user, three subkeys bound to the gallery.

Keyed, templates and texts are AES-256-GCM boxes, names are found by a HMAC tag, and the audit log
is a HMAC chain. Unkeyed, the same calls store plain bytes, plain SHA-256 tags and a SHA-256 chain:
whoever can write such a file can also recompute its chain.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import secrets
from pathlib import Path
from typing import Protocol

from crossface.core.errors import GalleryError, MissingExtra

KEY_VARIABLE = "CROSSFACE_GALLERY_KEY"
KEY_BYTES = 32
_NONCE_BYTES = 12


class Cipher(Protocol):
    """How a gallery hides, finds and chains."""

    encrypted: bool

    def seal(self, plain: bytes, context: bytes) -> bytes:
        """Bytes for the file; ``context`` must be given again to open them."""
        ...

    def unseal(self, box: bytes, context: bytes) -> bytes:
        """The plain bytes.

        Raises:
            GalleryError: if the box was changed, belongs elsewhere, or the key is another.
        """
        ...

    def tag(self, name: str) -> bytes:
        """(32,) bytes by which a name is found without being readable."""
        ...

    def link(self, previous: bytes, entry: bytes) -> bytes:
        """(32,) bytes that chain a log entry to the one before it."""
        ...

    def pseudonym(self, uid: bytes) -> str:
        """32 hex digits that stand for a person in the log."""
        ...


class KeyedCipher:
    """AES-256-GCM and HMAC-SHA256 under subkeys of one gallery.

    Source: NIST SP 800-38D (GCM, random 96-bit nonces: at most 2**32 boxes a gallery);
    RFC 5869 (HKDF).
    Deviation: none.

    Args:
        key: (32,) secret bytes.
        gallery_id: (16,) public random bytes, the salt of the subkeys.

    Raises:
        MissingExtra: if ``cryptography`` is not installed.
    """

    encrypted = True

    def __init__(self, key: bytes, gallery_id: bytes) -> None:
        try:
            from cryptography.exceptions import InvalidTag
            from cryptography.hazmat.primitives.ciphers.aead import AESGCM
        except ImportError:
            raise MissingExtra("cryptography", "crypto") from None
        self._invalid_tag = InvalidTag
        self._box = AESGCM(_subkey(key, gallery_id, "boxes"))
        self._names = _subkey(key, gallery_id, "names")
        self._log = _subkey(key, gallery_id, "log")

    def seal(self, plain: bytes, context: bytes) -> bytes:
        """Nonce, ciphertext and authentication tag."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return nonce + self._box.encrypt(nonce, plain, context)

    def unseal(self, box: bytes, context: bytes) -> bytes:
        """The plain bytes; see ``Cipher.unseal``."""
        try:
            return self._box.decrypt(box[:_NONCE_BYTES], box[_NONCE_BYTES:], context)
        except (self._invalid_tag, ValueError):
            raise GalleryError("a record does not decrypt: it was changed or moved") from None

    def tag(self, name: str) -> bytes:
        """HMAC of the name."""
        return hmac.digest(self._names, name.encode(), "sha256")

    def link(self, previous: bytes, entry: bytes) -> bytes:
        """HMAC of the previous link and the entry."""
        return hmac.digest(self._log, previous + entry, "sha256")

    def pseudonym(self, uid: bytes) -> str:
        """HMAC of the person's random id."""
        return hmac.digest(self._log, b"person" + uid, "sha256").hex()[:32]


class PlainCipher:
    """The same calls for a gallery without a key: nothing is hidden."""

    encrypted = False

    def seal(self, plain: bytes, context: bytes) -> bytes:
        """The bytes themselves."""
        del context
        return plain

    def unseal(self, box: bytes, context: bytes) -> bytes:
        """The bytes themselves."""
        del context
        return box

    def tag(self, name: str) -> bytes:
        """SHA-256 of the name: anybody can compute it."""
        return hashlib.sha256(b"name" + name.encode()).digest()

    def link(self, previous: bytes, entry: bytes) -> bytes:
        """SHA-256 of the previous link and the entry: anybody can compute it."""
        return hashlib.sha256(previous + entry).digest()

    def pseudonym(self, uid: bytes) -> str:
        """SHA-256 of the person's random id, which is erased with the person."""
        return hashlib.sha256(b"person" + uid).hexdigest()[:32]


def make_cipher(key: bytes | None, gallery_id: bytes) -> Cipher:
    """The cipher of a gallery with or without a key."""
    return PlainCipher() if key is None else KeyedCipher(key, gallery_id)


def read_key(key: bytes | str | Path | None) -> bytes | None:
    """The 32 secret bytes, or None where no key is given at all.

    Args:
        key: the bytes themselves, or a file that holds them raw, as hex or as base64; None takes
            the environment variable CROSSFACE_GALLERY_KEY (hex or base64) where it is set.

    Raises:
        GalleryError: if what is given is no key; its content is never quoted.
    """
    if isinstance(key, bytes):
        return _checked(key, "the gallery key")
    if key is not None:
        path = Path(key)
        try:
            content = path.read_bytes()
        except OSError as error:
            raise GalleryError(f"key file {path.name}: {error.strerror or error}") from None
        raw = content if len(content) == KEY_BYTES else _decoded(content)
        return _checked(raw, f"key file {path.name}")
    text = os.environ.get(KEY_VARIABLE)
    return None if not text else _checked(_decoded(text.encode()), KEY_VARIABLE)


def _decoded(text: bytes) -> bytes:
    stripped = text.strip()
    for decode in (binascii.unhexlify, base64.b64decode):
        try:
            raw = decode(stripped)
        except (binascii.Error, ValueError):
            continue
        if len(raw) == KEY_BYTES:
            return raw
    return b""


def _checked(raw: bytes, source: str) -> bytes:
    if len(raw) != KEY_BYTES:
        raise GalleryError(
            f"{source} is no gallery key: expected {KEY_BYTES} bytes as hex or base64 "
            "(one is made by: openssl rand -hex 32)"
        )
    return raw


def _subkey(key: bytes, gallery_id: bytes, purpose: str) -> bytes:
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    info = b"crossface gallery 1 " + purpose.encode()
    derived: bytes = HKDF(SHA256(), KEY_BYTES, salt=gallery_id, info=info).derive(key)
    return derived
