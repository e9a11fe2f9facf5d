"""What --ssl_config_file may hold, and what is told about what it may not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from tests.support.certificates import Authority, key_text, ssl_config
from tfs_notebook.errors import Code, ServingError
from tfs_notebook.settings.tls import Tls, parse_tls

AUTHORITY = Authority()
KEY, CERTIFICATE = AUTHORITY.issue("server")
MATERIAL = {"server_key": KEY, "server_cert": CERTIFICATE}


def refusal(path: str) -> ServingError:
    with pytest.raises(ServingError) as caught:
        parse_tls(Path(path).read_text(encoding="utf-8"), path)
    return caught.value


@pytest.mark.parametrize(
    ("extra", "tls"),
    [
        ({}, Tls(KEY, CERTIFICATE)),
        ({"custom_ca": AUTHORITY.certificate}, Tls(KEY, CERTIFICATE, AUTHORITY.certificate)),
        (
            {"custom_ca": AUTHORITY.certificate, "client_verify": True},
            Tls(KEY, CERTIFICATE, AUTHORITY.certificate, client_verify=True),
        ),
        ({"server_cert": CERTIFICATE + AUTHORITY.certificate}, Tls(KEY, CERTIFICATE + AUTHORITY.certificate)),
        ({"server_cert": f"Ein Prüfzeugnis:\n{CERTIFICATE}"}, Tls(KEY, f"Ein Prüfzeugnis:\n{CERTIFICATE}")),
        ({"server_cert": CERTIFICATE.replace("\n", "\r\n")}, Tls(KEY, CERTIFICATE.replace("\n", "\r\n"))),
    ],
    ids=["server only", "unused ca", "client_verify", "chain", "remarks", "Windows"],
)
def test_key_material(tmp_path: Path, extra: dict[str, Any], tls: Tls) -> None:
    file = ssl_config(tmp_path / "ssl", **{**MATERIAL, **extra})
    assert parse_tls(Path(file).read_text(encoding="utf-8"), file) == tls


def test_no_key_is_shown() -> None:
    assert repr(Tls(KEY, CERTIFICATE)) == "Tls(client_verify=False)"


BROKEN = CERTIFICATE[:70] + "A" + CERTIFICATE[70:]


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ({"server_key": ""}, "server_key holds no private key: it is empty"),
        ({"server_key": CERTIFICATE}, "server_key holds no private key: found CERTIFICATE"),
        (
            {"server_key": "c2VjcmV0"},
            "server_key holds no private key: found 8 characters without a line like -----BEGIN",
        ),
        (
            {"server_key": "A" * 600},
            "server_key holds no private key: found 600 characters without a line like -----BEGIN",
        ),
        ({"server_key": "-----BEGIN PRIVATE KEY-----\nAAAA\n"}, "the private key in server_key cannot be read: "),
        (
            {"server_key": AUTHORITY.issue("other")[0]},
            "server_key is not the key of the (first) certificate in server_cert (server, until 20",
        ),
        *(
            (
                {"server_key": key_text(key)},
                "server_key is of another kind, like RSA or elliptic curve, than the key of the (first) certificate in",
            )
            for key in (rsa.generate_private_key(65537, 2048), ed25519.Ed25519PrivateKey.generate())
        ),
        (
            {"server_key": key_text(ec.generate_private_key(ec.SECP256R1()), b"secret")},
            "server_key is encrypted, and there is nobody to ask for its passphrase: give it decrypted",
        ),
        ({"server_cert": ""}, "server_cert holds no certificate: it is empty"),
        ({"server_cert": KEY}, "server_cert holds no certificate: found PRIVATE KEY"),
        ({"server_cert": BROKEN}, "the certificate in server_cert cannot be read: "),
        ({"server_cert": CERTIFICATE + BROKEN}, "certificate 2 of 2 in server_cert cannot be read: "),
        ({"server_cert": CERTIFICATE[:-40]}, "server_cert has 1 certificates but 0 that are whole, from a line of"),
        (
            {"server_cert": CERTIFICATE.replace("\n", "")},
            "server_cert has 1 certificates but 0 that are whole, from a line",
        ),
        ({"custom_ca": "ca"}, "custom_ca holds no certificate: found 2 characters without a line like -----BEGIN CERT"),
        ({"custom_ca": BROKEN}, "the certificate in custom_ca cannot be read: "),
        (
            {"client_verify": True},
            "client_verify needs custom_ca, the certificates that vouch for clients: it is empty",
        ),
    ],
)
def test_material_that_cannot_be_used(tmp_path: Path, extra: dict[str, Any], message: str) -> None:
    path = ssl_config(tmp_path / "ssl", **{**MATERIAL, **extra})
    error = refusal(path)
    assert error.code is Code.INVALID_ARGUMENT
    assert error.message.startswith(f"--ssl_config_file={path}: {message}")
    assert "The PEM text itself is wanted" in error.hint
    for text in (KEY, CERTIFICATE, "c2VjcmV0"):
        assert text not in error.told


def test_the_name_of_a_file_in_the_place_of_its_text(tmp_path: Path) -> None:
    file = tmp_path / "server.key"
    file.write_text(KEY)
    error = refusal(ssl_config(tmp_path / "ssl", **{**MATERIAL, "server_key": str(file)}))
    assert error.message.endswith(f"server_key holds no private key: found the path {file}")


def test_text_that_is_no_ssl_config(tmp_path: Path) -> None:
    file = tmp_path / "ssl"
    file.write_text('server_key: "k"\nserver_crt: "c"\n')
    error = refusal(str(file))
    assert error.code is Code.INVALID_ARGUMENT
    message = "Error parsing text-format tensorflow.serving.SSLConfig: 2:1: there is no field server_crt"
    assert (error.message, error.where) == (message, f"{file}:2:1")
    assert "SSLConfig has server_key, server_cert, custom_ca, client_verify." in error.hint


@pytest.mark.parametrize(
    "text", [f'server_key: "{KEY}"', f"server_key: {KEY}", KEY.split("\n")[1]], ids=["quoted", "unquoted", "alone"]
)
def test_a_key_in_text_that_cannot_be_parsed_is_not_shown(tmp_path: Path, text: str) -> None:
    file = tmp_path / "ssl"
    file.write_text(text)
    error = refusal(str(file))
    assert "1:" in error.message
    assert "each of its lines ends in \\n" in error.hint
    assert not any(line in error.told for line in KEY.split("\n")[1:] if line)
