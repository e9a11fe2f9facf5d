"""TLS of the gRPC port: an SSLConfig, read and checked before grpc sees it.

grpc itself says of wrong key material only that a handshake failed, and says it to the clients.
"""

from __future__ import annotations

import os
import re
import ssl
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from tfs_notebook.engine.text_proto import parse_text
from tfs_notebook.errors import ServingError, invalid_argument
from tfs_notebook.settings.certificate import read_certificate

_BEGIN = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----(\r?\n)?")
_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----\r?\n.*?-----END CERTIFICATE-----", re.DOTALL)
_MISMATCH = {
    "KEY_VALUES_MISMATCH": "server_key is not the key",
    "KEY_TYPE_MISMATCH": "server_key is of another kind, like RSA or elliptic curve, than the key",
    "NO_CERTIFICATE_ASSIGNED": "server_key is of another kind, like RSA or elliptic curve, than the key",
}
"""By what OpenSSL says of a key and a certificate that can both be read."""
_UNKNOWN_FIELD = re.compile(r'has no field named "([a-zA-Z_]{1,24})"')
_FIELDS = ("server_key", "server_cert", "custom_ca", "client_verify")
_FIELDS_HINT = f"SSLConfig has {', '.join(_FIELDS)}."
_PEM_HINT = "The PEM text itself is wanted, not the name of its file; in text format each of its lines ends in \\n."


@dataclass(frozen=True, slots=True)
class Tls:
    """Key material as PEM texts. With `client_verify` clients need a certificate that `ca` vouches for."""

    key: str = field(repr=False)
    certificate: str = field(repr=False)
    ca: str = field(default="", repr=False)
    client_verify: bool = False


def parse_tls(text: str, path: str) -> Tls:
    """What the SSLConfig (protobuf text format) says that was read from `path`.

    Raises ServingError INVALID_ARGUMENT for what is no SSLConfig and for key material that cannot be used, naming the
    field and what was found in it.
    """
    config = _parsed(text, path)
    tls = Tls(config.server_key, config.server_cert, config.custom_ca, config.client_verify)
    try:
        _check(tls)
    except ServingError as error:
        message = f"--ssl_config_file={path}: {error.message}"
        raise ServingError(error.code, message, where=path, hint=_PEM_HINT) from None
    return tls


def _parsed(text: str, path: str) -> Any:
    """The SSLConfig in `text`. Of a line that cannot be parsed no more is told than the name of an unknown field."""
    try:
        return parse_text(text, _ssl_config(), path)
    except ServingError as error:
        unknown = _UNKNOWN_FIELD.search(error.message)
        reason = f"there is no field {unknown[1]}" if unknown else "what stands there is not shown: it may be a key"
        position = error.where.removeprefix(f"{path}:")
        message = f"Error parsing text-format tensorflow.serving.SSLConfig: {position}: {reason}"
        raise ServingError(error.code, message, where=error.where, hint=f"{_FIELDS_HINT} {_PEM_HINT}") from None


def _ssl_config() -> Any:
    """An empty tensorflow.serving.SSLConfig, whose descriptor tensorflow-serving-api does not hold."""
    file = descriptor_pb2.FileDescriptorProto(
        name="tensorflow_serving/config/ssl_config.proto", package="tensorflow.serving", syntax="proto3"
    )
    message = file.message_type.add(name="SSLConfig")
    types = descriptor_pb2.FieldDescriptorProto
    for number, name in enumerate(_FIELDS, start=1):
        kind = types.TYPE_BOOL if name == "client_verify" else types.TYPE_STRING
        message.field.add(name=name, number=number, type=kind, label=types.LABEL_OPTIONAL)
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("tensorflow.serving.SSLConfig"))()


def _check(tls: Tls) -> None:
    """Raise ServingError INVALID_ARGUMENT for what grpc could not use."""
    if "PRIVATE KEY" not in " ".join(_labels(tls.key)):
        raise invalid_argument(f"server_key holds no private key: {_found(tls.key)}")
    _check_certificates("server_cert", tls.certificate)
    _check_key(tls)
    if tls.ca:
        _check_certificates("custom_ca", tls.ca)
    elif tls.client_verify:
        raise invalid_argument("client_verify needs custom_ca, the certificates that vouch for clients: it is empty")


def _check_certificates(name: str, text: str) -> None:
    if "CERTIFICATE" not in _labels(text):
        raise invalid_argument(f"{name} holds no certificate: {_found(text)}")
    certificates, begun = _CERTIFICATE.findall(text), _labels(text).count("CERTIFICATE")
    if len(certificates) != begun:
        raise invalid_argument(
            f"{name} has {begun} certificates but {len(certificates)} that are whole, from a line of "
            "-----BEGIN CERTIFICATE----- to -----END CERTIFICATE-----"
        )
    for number, certificate in enumerate(certificates, start=1):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        try:
            context.load_verify_locations(cadata=certificate)
        except (ssl.SSLError, ValueError) as error:
            which = f"certificate {number} of {begun} in {name}" if begun > 1 else f"the certificate in {name}"
            raise invalid_argument(f"{which} cannot be read: {_reason(error)}") from None


class _EncryptedError(Exception):
    """A key needs a passphrase."""


def _passphrase() -> str:
    raise _EncryptedError


def _check_key(tls: Tls) -> None:
    """Raise ServingError INVALID_ARGUMENT unless the key can be read and is the certificate's."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers("DEFAULT:@SECLEVEL=0")  # how strong a key must be is not decided here
    with tempfile.TemporaryDirectory() as directory:  # which only this user can read
        chain, key = Path(directory, "cert"), Path(directory, "key")
        chain.write_text(tls.certificate, encoding="utf-8")
        key.write_text(tls.key, encoding="utf-8")
        try:
            context.load_cert_chain(chain, key, _passphrase)
        except _EncryptedError:
            raise invalid_argument(
                "server_key is encrypted, and there is nobody to ask for its passphrase: give it decrypted"
            ) from None
        except (ssl.SSLError, ValueError) as error:
            if isinstance(error, ssl.SSLError) and error.reason in _MISMATCH:
                told, whose = _MISMATCH[error.reason], read_certificate(tls.certificate)
                whose_text = f" ({whose})" if whose else ""
                raise invalid_argument(f"{told} of the (first) certificate in server_cert{whose_text}") from None
            raise invalid_argument(f"the private key in server_key cannot be read: {_reason(error)}") from None


def _labels(text: str) -> list[str]:
    """What the PEM blocks in `text` say they are."""
    return [label for label, _ in _BEGIN.findall(text)]


def _found(text: str) -> str:
    """What stands where PEM text was expected; nothing of it is shown that may be a secret."""
    if not text.strip():
        return "it is empty"
    if labels := _labels(text):
        return f"found {', '.join(labels)}"
    if os.path.exists(text.strip()):  # noqa: PTH110 - Path's raises for a text that is too long
        return f"found the path {text.strip()}"
    return f"found {len(text)} characters without a line like -----BEGIN CERTIFICATE-----"


def _reason(error: Exception) -> str:
    """OpenSSL's own words, without where in its code it said them."""
    reason = error.reason if isinstance(error, ssl.SSLError) else None
    return (reason or str(error)).replace("_", " ").lower()
