"""What is read of a certificate by hand is what `cryptography` wrote into it."""

from __future__ import annotations

import datetime as dt

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from tests.support.certificates import Authority
from tfs_notebook.settings.certificate import Certificate, read_certificate

KEY = ec.generate_private_key(ec.SECP256R1())
ORGANISATION = x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, "O" * 60)
UTC = dt.timezone.utc


def certificate(
    *names: x509.NameAttribute, until: dt.datetime, key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey = KEY
) -> str:
    subject = x509.Name([x509.RelativeDistinguishedName([name]) for name in names])
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number())
    built = builder.not_valid_before(dt.datetime(1970, 1, 1)).not_valid_after(until)
    return built.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


@pytest.mark.parametrize("name", ["server", "my.lab", "名前", "x" * 64])
@pytest.mark.parametrize(
    "until", [dt.datetime(1999, 12, 31, 23, 59, 59), dt.datetime(2049, 1, 2), dt.datetime(2050, 1, 1)]
)
def test_whose_it_is_and_until_when(name: str, until: dt.datetime) -> None:
    common_name = x509.NameAttribute(x509.NameOID.COMMON_NAME, name)
    pem = certificate(ORGANISATION, common_name, until=until)
    assert read_certificate(pem) == Certificate(name, until.replace(tzinfo=UTC))


def test_a_name_in_two_bytes_a_character() -> None:
    wide = x509.NameAttribute(x509.NameOID.COMMON_NAME, "Füchse", _type=x509.name._ASN1Type.BMPString)
    found = read_certificate(certificate(wide, until=dt.datetime(2030, 1, 1)))
    assert found is not None
    assert found.name == "Füchse"


def test_one_without_a_name_and_with_a_long_key() -> None:
    key = rsa.generate_private_key(65537, 2048)
    assert read_certificate(certificate(until=dt.datetime(2030, 1, 1), key=key)) == Certificate(
        "", dt.datetime(2030, 1, 1, tzinfo=UTC)
    )


def test_the_first_of_a_chain() -> None:
    authority = Authority()
    found = read_certificate("a remark\n" + authority.issue("server")[1] + authority.certificate)
    assert found is not None
    assert found.name == "server"


def test_how_it_is_told() -> None:
    assert str(Certificate("server", dt.datetime(9999, 1, 31, tzinfo=UTC))) == "server, until 9999-01-31"
    assert str(Certificate("server", dt.datetime(2020, 1, 31, tzinfo=UTC))) == "server, EXPIRED on 2020-01-31"
    assert str(Certificate("", dt.datetime(9999, 1, 31, tzinfo=UTC))) == "until 9999-01-31"


@pytest.mark.parametrize("content", ["", "AAAA", "MAA=", "MIIB", "!", "MAMCAQE="])
def test_what_is_no_certificate(content: str) -> None:
    assert read_certificate(f"-----BEGIN CERTIFICATE-----\n{content}\n-----END CERTIFICATE-----\n") is None
